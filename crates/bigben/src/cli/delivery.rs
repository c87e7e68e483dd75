//! `bigben deliveries` and `bigben delivery`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::{InstanceArgs, Output};
use crate::client::Client;
use crate::text::{duration, table};

/// List the deliveries: what became of each push
#[derive(clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    /// Print them as an OpenTelemetry (OTLP/JSON) export request
    #[arg(long, conflicts_with = "output")]
    otlp: bool,
}

/// Show the timeline of one delivery, span by span
#[derive(clap::Args)]
pub struct ShowArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The pushed commit, or the first characters of it
    commit: String,
    /// Wait until it is over
    #[arg(short, long)]
    wait: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn short(commit: &str) -> String {
    commit.get(..7).unwrap_or(commit).to_owned()
}

/// Prints every delivery, newest first, and the figures over them.
pub fn list(args: &ListArgs) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let client = Client::new(&state)?;
    if args.otlp {
        let request: Value = client.request("GET", "/deliveries/otlp", None)?;
        anstream::println!("{request}");
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Value = client.request("GET", "/deliveries", None)?;
    if args.output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let heads = ["COMMIT", "STATE", "PUSHED", "TO LIVE", "REF", "TITLE"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for delivery in answer["deliveries"].as_array().into_iter().flatten().rev() {
        let took = delivery["commit_to_live_ms"].as_i64().map_or_else(|| "-".to_owned(), duration);
        rows.push(vec![
            short(text(delivery, "commit")),
            text(delivery, "state").to_owned(),
            time(delivery["opened_ms"].as_i64().unwrap_or(0)),
            took,
            text(delivery, "reference").trim_start_matches("refs/heads/").to_owned(),
            text(delivery, "title").to_owned(),
        ]);
    }
    anstream::print!("{}", table(&rows));
    let figures = &answer["figures"];
    let ms = |field: &str| figures[field].as_i64().map_or_else(|| "-".to_owned(), duration);
    let rate =
        figures["change_failure_rate"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{:.0} %", rate * 100.0));
    anstream::println!(
        "{} deployments, {:.1} a day; lead time {}; change failure rate {rate}; time to restore {}",
        figures["deployments"],
        figures["deployments_per_day"].as_f64().unwrap_or(0.0),
        ms("lead_time_ms"),
        ms("time_to_restore_ms"),
    );
    Ok(ExitCode::SUCCESS)
}

/// Prints one delivery.
pub fn show(args: &ShowArgs) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let client = Client::new(&state)?;
    let path = format!("/deliveries/{}", args.commit);
    let mut delivery: Value = client.request("GET", &path, None)?;
    if args.wait {
        delivery = client.request("GET", &format!("/settled/{}", text(&delivery, "commit")), None)?;
    }
    if args.output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&delivery)?);
        return Ok(ExitCode::SUCCESS);
    }
    anstream::println!(
        "{} {} by {} on {} at {}: {}",
        short(text(&delivery, "commit")),
        text(&delivery, "title"),
        text(&delivery, "author"),
        text(&delivery, "reference"),
        time(delivery["opened_ms"].as_i64().unwrap_or(0)),
        text(&delivery, "state"),
    );
    let opened = delivery["opened_ms"].as_i64().unwrap_or(0);
    let heads = ["AT", "TOOK", "STAGE", "STATE", "WHAT", "MORE"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for span in delivery["spans"].as_array().into_iter().flatten() {
        let began = span["started_ms"].as_i64().unwrap_or(opened);
        let took = span["ended_ms"].as_i64().map_or_else(|| "...".to_owned(), |ended| duration(ended - began));
        rows.push(vec![
            format!("+{}", duration(began - opened)),
            took,
            text(span, "stage").to_owned(),
            text(span, "state").to_owned(),
            text(span, "subject").to_owned(),
            text(span, "message").to_owned(),
        ]);
    }
    anstream::print!("{}", table(&rows));
    Ok(ExitCode::SUCCESS)
}

fn time(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).map(|time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
    time.unwrap_or_default()
}
