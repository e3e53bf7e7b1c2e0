use std::io::Write;

use serde_json::{Value, json};
use tallykeep_client::{Client, Filter, Format, NewEntry, Query};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(std::env::var("TALLYKEEP_ENDPOINTS")?.split(','))?;
    for status in [200, 404, 500] {
        let entry = NewEntry::new("wix_request", "api_call")
            .user_id("user-123")
            .ip("1.2.3.4")
            .details(&json!({"path": "/api/wix/content", "status": status}))?;
        client.log(&entry).await?;
    }

    let filter = Filter { type_: Some("wix_request".to_owned()), ..Filter::default() };
    let mut query = Query { filter: filter.clone(), limit: Some(2), cursor: None };
    loop {
        let page = client.query(&query).await?;
        for entry in &page.entries {
            println!("{} {}", entry.action, entry.details::<Value>()?["status"]);
        }
        query.cursor = page.cursor;
        if query.cursor.is_none() {
            break;
        }
    }

    let mut file = Vec::new(); // or any other place
    let mut export = client.export(Format::Csv { escape: true }, &filter).await?;
    while let Some(part) = export.next().await? {
        file.write_all(&part)?;
    }
    println!("{} lines", file.split_inclusive(|byte| *byte == b'\n').count());
    Ok(())
}
