//! Where an S3-compatible store is and who we are there: the URL, then the variables and files that AWS' own tools read.

use std::path::PathBuf;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, RetryConfig};

/// How long a connection, and an answer, may take.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);

/// What the URL of a bucket looks like.
const FORM: &str = "write s3://BUCKET/PREFIX, with ?endpoint=https://HOST:PORT where it is not AWS, and region=NAME";

/// The store and the prefix that `s3://BUCKET/PREFIX?endpoint=URL&region=NAME` names. `variable` looks up what AWS' tools look up.
///
/// # Errors
/// When it is no such URL.
pub fn store(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<(AmazonS3, Path), String> {
    let rest = url.strip_prefix("s3://").ok_or(FORM)?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() || bucket.contains(['@', ':']) {
        return Err(FORM.into());
    }
    let prefix = Path::parse(prefix).map_err(|error| format!("{FORM}: {error}"))?;
    let options = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(ANSWER);
    let retry = RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(10), ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_client_options(options).with_retry(retry);
    let endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL")).or_else(|| variable("AWS_ENDPOINT"));
    if let Some(endpoint) = endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
    }
    let profile = Profile::read(&variable);
    let none = |names: &[&str]| names.iter().all(|name| variable(name).is_none());
    let set = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    if none(&set)
        && let (Some(id), Some(secret)) = (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key"))
    {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        if let Some(token) = profile.get("aws_session_token") {
            builder = builder.with_token(token);
        }
    }
    if none(&["AWS_REGION", "AWS_DEFAULT_REGION"])
        && let Some(region) = profile.get("region")
    {
        builder = builder.with_region(region);
    }
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        builder = match &*key {
            "endpoint" if value.starts_with("http://") || value.starts_with("https://") => {
                builder.with_endpoint(&*value).with_allow_http(value.starts_with("http://"))
            }
            "region" => builder.with_region(&*value),
            _ => return Err(format!("`{key}` is not understood: {FORM}")),
        };
    }
    // The client takes the process' own; whoever has set one already meant it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = builder.build().map_err(|error| error.to_string())?;
    Ok((store, prefix))
}

/// One profile of `~/.aws/credentials` and `~/.aws/config`, which are INI files.
struct Profile(Vec<(String, String)>);

impl Profile {
    fn read(variable: &impl Fn(&str) -> Option<String>) -> Profile {
        let name = variable("AWS_PROFILE").unwrap_or_else(|| "default".into());
        let home = || variable("HOME").or_else(|| variable("USERPROFILE")).map(|home| PathBuf::from(home).join(".aws"));
        let text = |named: &str, file: &str| {
            let path = variable(named).map(PathBuf::from).or_else(|| home().map(|home| home.join(file)));
            path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let mut found = section(&text("AWS_SHARED_CREDENTIALS_FILE", "credentials"), &[&name]);
        found.extend(section(&text("AWS_CONFIG_FILE", "config"), &[&format!("profile {name}"), &name]));
        Profile(found)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The settings in the sections of these names.
fn section(text: &str, names: &[&str]) -> Vec<(String, String)> {
    let (mut within, mut found) = (false, Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            within = names.contains(&name.0.trim());
        } else if within
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            found.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_from_its_own_section() {
        let text = "# mine\n[default]\nregion = a\n[profile dev]\n region=b # no\n; c = d\naws_access_key_id = x = y\n";
        assert_eq!(section(text, &["default"]), [("region".to_owned(), "a".to_owned())]);
        let dev = Profile(section(text, &["profile dev"]));
        assert_eq!((dev.get("aws_access_key_id"), dev.get("c")), (Some("x = y"), None));
    }

    #[test]
    fn what_names_no_bucket_is_refused_with_what_would() {
        for (url, want) in [
            ("http://a.example", "write s3://BUCKET"),
            ("s3://", "write s3://BUCKET"),
            ("s3://id:secret@bucket", "write s3://BUCKET"),
            ("s3://b/p?endpoint=a.example", "`endpoint` is not understood"),
            ("s3://b/p?colour=red", "`colour` is not understood"),
        ] {
            let refusal = store(url, |_| None).map(|_| ()).unwrap_err();
            assert!(refusal.contains(want) && !refusal.contains("secret"), "{url}: {refusal}");
        }
        assert!(store("s3://b/some/prefix?endpoint=http://127.0.0.1:1", |_| None).is_ok());
    }
}
