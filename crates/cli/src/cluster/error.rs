//! What a server refuses, and what to do when none answers.

use anyhow::anyhow;
use serde_json::Value;

use super::Cluster;

/// The server's "no", in its own words.
#[derive(Debug, Clone)]
pub struct Refused {
    /// HTTP's status code.
    pub code: u16,
    /// What the server says.
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::print::harmless(&self.message))
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// From a `Status` object.
    pub fn from_status(status: &Value) -> Refused {
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
        let message = status["message"].as_str().or(status["reason"].as_str()).unwrap_or("the server refused, without a reason");
        Refused { code, message: message.to_owned() }
    }
}

/// The status code, if it was the server that said no.
pub fn code(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Refused>().map(|refused| refused.code)
}

impl Cluster {
    /// An error of the client library, as a sentence that says what to do.
    pub(super) fn explain(&self, error: kube::Error) -> anyhow::Error {
        let endpoint = &self.endpoint;
        match error {
            kube::Error::Api(status) => {
                if is_foreign(&status.reason) {
                    tracing::debug!("{}", status.message);
                    return anyhow!("the server at {endpoint} answers {}, but not as a wctl server does; {ELSEWHERE}", status.code);
                }
                let message = if status.message.is_empty() { status.reason } else { status.message };
                let refused = Refused { code: status.code, message: with_advice(message) };
                match refused.code {
                    401 => anyhow::Error::new(refused).context(format!("the server at {endpoint} does not know this token")),
                    _ => refused.into(),
                }
            }
            error if has_io(&error, std::io::ErrorKind::ConnectionRefused) => {
                anyhow!("no server answers at {endpoint}; start one with `wctl up`, or name another with --data, --api or KUBECONFIG")
            }
            error if text_of(&error).contains("certificate") => {
                let text = text_of(&error);
                // How a library writes it down helps nobody who only wants to know what to do.
                tracing::debug!("{text}");
                anyhow!("the server at {endpoint} cannot prove that it is the one of this kubeconfig: {}", doubt(&text))
            }
            error if speaks_plainly(&error) => {
                anyhow!("the server at {endpoint} does not speak TLS, so it is no wctl server; {ELSEWHERE}")
            }
            kube::Error::SerdeError(error) => {
                tracing::debug!("{error}");
                anyhow!("the server at {endpoint} answers, but not as a wctl server does; {ELSEWHERE}")
            }
            error => anyhow::Error::new(error).context(format!("asking the server at {endpoint}")),
        }
    }
}

/// What to do when something else listens there.
const ELSEWHERE: &str = "name another with --data, --api or KUBECONFIG";

/// Whether a refusal is in words that neither Kubernetes nor wctl uses: its reasons are `NotFound`, and never `Not Found`, which is
/// what is made of an answer that is no Status.
fn is_foreign(reason: &str) -> bool {
    reason.contains(' ')
}

fn speaks_plainly(error: &kube::Error) -> bool {
    let text = text_of(error);
    text.contains("InvalidContentType") || text.contains("InvalidMessage")
}

/// A namespace that is missing has to be made by whoever wants it.
fn with_advice(message: String) -> String {
    match message.strip_prefix("namespaces \"").and_then(|rest| rest.strip_suffix("\" not found")) {
        Some(name) => no_namespace(name),
        None => message,
    }
}

/// That there is no such namespace, and how to make it.
pub fn no_namespace(name: &str) -> String {
    let object = format!(r#"{{"apiVersion": "v1", "kind": "Namespace", "metadata": {{"name": "{name}"}}}}"#);
    format!("there is no namespace {name}; make it with `echo '{object}' | wctl deploy -`")
}

/// What is wrong with a server's certificate, from the words of the TLS library.
fn doubt(text: &str) -> &'static str {
    if text.contains("NotValidForName") {
        "its certificate is for other names; use the address that the kubeconfig has"
    } else if text.contains("Expired") || text.contains("NotValidYet") {
        "its certificate is not valid at this time; compare the clocks of both machines"
    } else {
        "its certificate is of another authority; is another program listening there?"
    }
}

fn has_io(error: &(dyn std::error::Error + 'static), kind: std::io::ErrorKind) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == kind) {
            return true;
        }
        next = error.source();
    }
    false
}

fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_in_other_words_is_another_servers() {
        assert!(is_foreign("Not Found") && is_foreign("Failed to parse error data"));
        assert!(!is_foreign("NotFound") && !is_foreign("Forbidden") && !is_foreign(""));
    }

    #[test]
    fn a_missing_namespace_is_told_with_how_to_make_it() {
        let told = with_advice("namespaces \"acc\" not found".into());
        assert!(told.starts_with("there is no namespace acc; make it with `echo '{\"apiVersion\": \"v1\""), "{told}");
        assert_eq!(with_advice("apps \"a\" not found".into()), "apps \"a\" not found");
    }

    #[test]
    fn a_bad_certificate_is_told_in_words() {
        assert!(doubt("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))").contains("another program"));
        assert!(doubt("invalid peer certificate: UnknownIssuer").contains("another authority"));
        assert!(doubt("invalid peer certificate: Expired").contains("clocks"));
        assert!(doubt("invalid peer certificate: NotValidForNameContext { .. }").contains("other names"));
    }
}
