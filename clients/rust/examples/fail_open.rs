use tallykeep_client::{Client, Limit};

const LIMIT: Limit = Limit { requests: 1, window_ms: 60_000 };

/// The status of an answer to a client.
async fn status(client: &Client, ip: &str) -> u16 {
    match client.check(ip, "wix", LIMIT).await {
        Ok(decision) if decision.allowed => 200,
        Ok(_) => 429,
        Err(error) => {
            eprintln!("rate limit check error: {error}");
            200 // fails open
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(std::env::var("TALLYKEEP_ENDPOINTS")?.split(','))?;
    println!("{} {}", status(&client, "5.6.7.8").await, status(&client, "5.6.7.8").await);
    client.reset("5.6.7.8", "wix").await?;
    println!("{}", status(&client, "5.6.7.8").await);
    Ok(())
}
