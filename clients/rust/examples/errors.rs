use std::time::Duration;

use tallykeep_client::{Client, Limit};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Where nobody listens.
    let client = Client::builder(std::env::var("TALLYKEEP_ENDPOINTS")?.split(','))
        .token("secret")
        .timeout(Duration::from_millis(200))
        .build()?;
    let call = client.with_idempotency_key("order-17")?;
    let limit = Limit { requests: 100, window_ms: 60_000 };
    let error = call.check("1.2.3.4", "wix", limit).await.unwrap_err();
    println!("{:?} {:?} {}", error.kind(), error.status(), error.is_retryable());

    let error = client.check("1.2.3.4", "", limit).await.unwrap_err();
    println!("{error}");
    Ok(())
}
