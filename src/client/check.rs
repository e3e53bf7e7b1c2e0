//! `tallykeep check`: one check of one limiter, counted once.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::call::{Call, Nodes, key};
use super::replay::window;
use super::target::Target;
use super::wire::{CheckBody, Config};
use super::{Error, exit, terminal, time};
use crate::limits::{REQUESTS_MAX, WINDOW_MS_MAX};

/// Arguments of `tallykeep check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Whose request it is.
    identifier: String,
    /// The limiter's type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Requests that the window admits; without it and `--window`, the type's policy decides.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(..=REQUESTS_MAX),
        requires = "window"
    )]
    requests: Option<u64>,
    /// The window, such as `60s` or `24h`.
    #[arg(long, value_name = "TIME", value_parser = window, requires = "requests")]
    window: Option<Duration>,
    /// Sent again under the same key, the check counts once, and an admitted one is answered as it
    /// was. By default each run has a key of its own, for its retries.
    #[arg(long, value_name = "KEY", value_parser = key)]
    idempotency_key: Option<String>,
    /// Print the answer as it came, in JSON.
    #[arg(long)]
    json: bool,
    /// The limiter, if it is not the one of the type and the identifier.
    #[command(flatten)]
    target: Target,
    /// The nodes.
    #[command(flatten)]
    nodes: Nodes,
}

/// The answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    allowed: bool,
    remaining: u64,
    reset_time: u64,
    retry_after: Option<u64>,
}

/// Checks, and prints the verdict. Exit 0 when the request is admitted, 1 when it is refused.
///
/// # Errors
/// If the cluster does not take the check, or no node answers in time.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let config = args.requests.zip(args.window).map(|(requests, window)| {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(WINDOW_MS_MAX);
        Config { requests, window_ms }
    });
    let body = CheckBody { identifier: &args.identifier, config, r#type: args.kind.as_deref() };
    let body = serde_json::to_vec(&body).expect("a body is plain data");
    let call = Call::change(args.target.path(&["check"]), body, args.idempotency_key.as_deref());
    let (answer, _) = call.send(&args.nodes.cluster()?, 0, args.nodes.patience()).await?;
    let verdict: Verdict = answer.read()?;
    let text = if args.json {
        [answer.bytes(), b"\n"].concat()
    } else {
        table(&verdict, args.requests).into_bytes()
    };
    terminal::print(&text)?;
    Ok(exit::of(verdict.allowed))
}

fn table(verdict: &Verdict, requests: Option<u64>) -> String {
    let allowed = if verdict.allowed { "yes" } else { "no" };
    let remaining = verdict.remaining.to_string();
    let mut rows = vec![
        ["allowed".into(), allowed.to_owned()],
        [
            "remaining".into(),
            requests.map_or(remaining.clone(), |all| format!("{remaining} of {all}")),
        ],
        ["window ends".into(), time::show(verdict.reset_time)],
    ];
    if let Some(seconds) = verdict.retry_after {
        rows.push(["retry after".into(), format!("{seconds} s")]);
    }
    terminal::columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_shown_line_by_line() {
        let verdict = |text| serde_json::from_str(text).unwrap();
        let admitted = verdict(r#"{"allowed":true,"remaining":95,"resetTime":1634567890000}"#);
        assert_eq!(
            table(&admitted, Some(100)),
            "allowed      yes\nremaining    95 of 100\nwindow ends  2021-10-18T14:38:10.000Z\n"
        );
        let refused =
            verdict(r#"{"allowed":false,"remaining":0,"resetTime":1634567890000,"retryAfter":45}"#);
        assert_eq!(
            table(&refused, Some(5)),
            "allowed      no\nremaining    0 of 5\nwindow ends  2021-10-18T14:38:10.000Z\n\
             retry after  45 s\n"
        );
    }
}
