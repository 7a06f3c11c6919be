//! What serde says is wrong, in the words of those who wrote it: they know numbers, texts and tables, not Rust's types.

use rheostat_workloads::script::Known;

/// A message of serde, put plainly.
pub(crate) fn plainly(message: &str) -> String {
    let named = |prefix: &str| message.strip_prefix(prefix)?.split_once('`');
    if let Some((name, rest)) = named("unknown field `") {
        return Known::of("key", ticked(rest)).unknown(name);
    }
    if let Some((name, rest)) = named("unknown variant `") {
        return Known::of("word", ticked(rest)).unknown(name);
    }
    if let Some((name, _)) = named("missing field `") {
        return format!("`{name}` is missing");
    }
    if message.starts_with("data did not match any variant") {
        return "must be a whole number or a word".to_owned();
    }
    let unfit = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match unfit.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => format!("must be {}, not {}", wanted(expected), seen(found)),
        None => message.replace('\n', ", "),
    }
}

/// What stands between backticks.
fn ticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn wanted(expected: &str) -> String {
    let settings = |name: &str| match name {
        "Source" => "a table such as { files = [\"PATH\"] }".to_owned(),
        "Stage" => "a table such as [[pipeline.NAME.stage]]".to_owned(),
        "Map" | "Queue" | "Pool" | "Scheduler" | "Pipeline" => {
            format!("a table such as [{}.NAME]", name.to_lowercase())
        }
        _ => format!("a table such as [{}]", name.to_lowercase()),
    };
    match expected {
        "i64" | "i32" => "a whole number".to_owned(),
        "usize" | "u64" | "u32" => "a whole number, 0 or more".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        _ => expected.strip_prefix("struct Raw").map_or_else(|| expected.to_owned(), settings),
    }
}

fn seen(found: &str) -> String {
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "an array".to_owned(),
        "null" | "unit value" => "null".to_owned(),
        _ => match found.split_once('"') {
            Some((_, text)) => format!("the text \"{text}"),
            None => ticked(found).next().unwrap_or(found).to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::plainly;

    #[test]
    fn types_become_words() {
        for (said, plain) in [
            (
                "unknown field `sokcet`, expected one of `socket`, `listen`",
                "unknown key `sokcet`; did you mean `socket`?",
            ),
            ("unknown variant `wrods`, expected `lines` or `words`", "unknown word `wrods`; did you mean `words`?"),
            ("invalid type: string \"many\", expected i64", "must be a whole number, not the text \"many\""),
            (
                "invalid value: integer `99999999999999999999` as i128, expected i64",
                "must be a whole number, not 99999999999999999999",
            ),
            ("invalid type: integer `3`, expected struct RawPool", "must be a table such as [pool.NAME], not 3"),
            ("invalid type: boolean `true`, expected a string", "must be a string, not true"),
            ("invalid type: map, expected a sequence", "must be an array, not a table"),
            ("invalid value: integer `-1`, expected usize", "must be a whole number, 0 or more, not -1"),
            ("missing field `items`", "`items` is missing"),
            ("anything else", "anything else"),
        ] {
            assert_eq!(plainly(said), plain);
        }
    }
}
