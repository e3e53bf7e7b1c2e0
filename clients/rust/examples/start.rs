use tallykeep_client::{Client, Limit};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // http://10.0.0.1:7001,http://10.0.0.2:7001,http://10.0.0.3:7001
    let client = Client::new(std::env::var("TALLYKEEP_ENDPOINTS")?.split(','))?;
    let limit = Limit { requests: 100, window_ms: 60_000 };
    let decision = client.check("1.2.3.4", "wix", limit).await?;
    println!("{} {}", decision.allowed, decision.remaining);
    Ok(())
}
