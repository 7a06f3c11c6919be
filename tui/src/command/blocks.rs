//! `blocks`: who has blocks of a pool, and what its guard found.

use super::answer::Answer;
use super::spelling::address;
use crate::exit::{Exit, Failure};
use crate::scrub::scrubbed;
use crate::units;
use rheostat_api::{Client, PoolBlocks};

/// `pool.NAME`.
#[derive(Debug, Clone)]
pub struct PoolAddress(String);

impl std::str::FromStr for PoolAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        address("pool", text).map(Self)
    }
}

/// Asks for it and says it.
pub async fn run(client: &Client, pool: &PoolAddress, answer: &mut Answer) -> Result<Exit, Failure> {
    let blocks = client.pool_blocks(&pool.0).await?;
    if answer.is_json() {
        answer.object(&blocks)?;
    } else {
        lines(&pool.0, &blocks).into_iter().try_for_each(|line| answer.line(line))?;
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

fn lines(name: &str, of: &PoolBlocks) -> Vec<String> {
    let out = |blocks: u64, bytes: u64| format!("{:>10} blocks  {:>9} asked for", grouped(blocks), memory(bytes));
    let guard = if of.guarded { "guarded" } else { "not guarded" };
    let mut lines = vec![format!("{:<28} {}  {guard}", format!("pool.{name}"), out(of.blocks, of.bytes))];
    for class in &of.classes {
        let title = class.block_bytes.map_or("large".to_owned(), |bytes| format!("class {}", memory(bytes)));
        lines.push(format!("  {title:<26} {}", out(class.blocks, class.bytes)));
    }
    for scope in &of.scopes {
        let (title, oldest) = (format!("from {}", scrubbed(&scope.scope)), units::elapsed(scope.oldest_s));
        lines.push(format!("  {title:<26} {}  oldest {oldest}", out(scope.blocks, scope.bytes)));
    }
    if of.unattributed > 0 {
        let blocks = grouped(of.unattributed);
        lines.push(format!("  {:<26} {blocks:>10} blocks, handed out unguarded", "from nobody knows where"));
    }
    lines.extend(of.faults.iter().map(|fault| format!("fault {}: {}", fault.kind, scrubbed(&fault.detail))));
    lines
}

fn grouped(number: u64) -> String {
    units::grouped(number as f64)
}

fn memory(bytes: u64) -> String {
    units::memory(bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_api::{PoolClass, PoolDeed, PoolFault, PoolScope};

    #[test]
    fn blocks_are_told_by_class_and_by_scope() {
        let deed = PoolDeed { scope: "outside".into(), thread: Some(1), ago_s: 2.0 };
        let fault = PoolFault {
            kind: "overrun".into(),
            detail: "pool.p: byte 5 was \u{1b}[2Jwritten".into(),
            address: "0x10".into(),
            offset: 5,
            block_bytes: Some(32),
            len: Some(5),
            allocated: Some(deed.clone()),
            freed: None,
            found: deed,
        };
        let blocks = PoolBlocks {
            guarded: true,
            blocks: 1203,
            bytes: 70_000,
            unattributed: 1,
            classes: vec![
                PoolClass { block_bytes: Some(64), blocks: 1202, bytes: 4464 },
                PoolClass { block_bytes: None, blocks: 1, bytes: 65_536 },
            ],
            scopes: vec![PoolScope { scope: "pipeline.words".into(), blocks: 1202, bytes: 69_900, oldest_s: 75.0 }],
            faults: vec![fault],
        };
        assert_eq!(
            lines("p", &blocks),
            [
                "pool.p                            1 203 blocks   68.4 KiB asked for  guarded",
                "  class 64 B                      1 202 blocks   4.36 KiB asked for",
                "  large                               1 blocks     64 KiB asked for",
                "  from pipeline.words             1 202 blocks   68.3 KiB asked for  oldest 1m15s",
                "  from nobody knows where             1 blocks, handed out unguarded",
                "fault overrun: pool.p: byte 5 was \\u{1b}[2Jwritten",
            ]
        );
    }
}
