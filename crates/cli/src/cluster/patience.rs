//! How long a verb waits for a server that says nothing.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::print;

/// When a person begins to wonder.
const QUIET: Duration = Duration::from_secs(5);
/// When nothing will come any more: the server itself answers everything, failures included, in less.
const ENOUGH: Duration = Duration::from_secs(90);

/// What `asked` answers; says so on stderr when that takes long, and an error when it takes too long.
pub async fn answer<T>(endpoint: &str, asked: impl Future<Output = T>) -> Result<T> {
    answer_within(endpoint, asked, QUIET, ENOUGH).await
}

async fn answer_within<T>(endpoint: &str, asked: impl Future<Output = T>, quiet: Duration, enough: Duration) -> Result<T> {
    let mut asked = std::pin::pin!(asked);
    if let Ok(answer) = tokio::time::timeout(quiet, &mut asked).await {
        return Ok(answer);
    }
    print::warn(format_args!("the server at {endpoint} has not answered for {} s; still waiting", quiet.as_secs()));
    match tokio::time::timeout(enough.saturating_sub(quiet), asked).await {
        Ok(answer) => Ok(answer),
        Err(_) => bail!(
            "the server at {endpoint} took the connection and did not answer within {} s, so whether anything was changed is not known; look whether it hangs (its log, `wctl status`)",
            enough.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn who_never_answers_is_given_up() {
        let error = answer_within("https://127.0.0.1:1", std::future::pending::<()>(), SOON, 2 * SOON).await.unwrap_err().to_string();
        assert!(error.contains("https://127.0.0.1:1 took the connection and did not answer within"), "{error}");
    }

    #[tokio::test]
    async fn who_answers_late_is_waited_for() {
        let late = async {
            tokio::time::sleep(4 * SOON).await;
            7
        };
        assert_eq!(answer_within("https://127.0.0.1:1", late, SOON, Duration::from_secs(60)).await.unwrap(), 7);
    }
}
