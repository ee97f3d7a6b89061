//! What Slack documents about messages and dialogues, as checks: every request to the Slack of the
//! tests is held against it. From "Block Kit", "chat.postMessage", "chat.update" and "views.open".

use serde_json::Value;

/// Everything that Slack would not take, or would not show as meant.
pub fn violations(method: &str, body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match method {
        "chat.postMessage" | "chat.update" | "chat.postEphemeral" => {
            message(method, body, &mut found);
        }
        "views.open" => {
            required(body, &["trigger_id"], "", &mut found);
            view(&body["view"], &mut found);
        }
        _ => {}
    }
    found
}

fn message(method: &str, body: &Value, found: &mut Vec<String>) {
    required(body, &["channel", "text"], "", found);
    if method == "chat.update" {
        required(body, &["ts"], "", found);
    }
    if method == "chat.postEphemeral" {
        required(body, &["user"], "", found);
    }
    longest(&body["text"], 4000, "text", found);
    calls(body["text"].as_str().unwrap_or(""), "text", found);
    blocks(&body["blocks"], 50, found);
}

fn view(view: &Value, found: &mut Vec<String>) {
    if view["type"] != "modal" {
        found.push("a view is a modal".to_owned());
    }
    for part in ["title", "submit", "close"] {
        if !view[part].is_null() || part == "title" {
            plain(&view[part], 24, &format!("view.{part}"), found);
        }
    }
    longest(&view["private_metadata"], 3000, "private_metadata", found);
    longest(&view["callback_id"], 255, "callback_id", found);
    let inputs = view["blocks"].as_array().into_iter().flatten();
    let inputs = inputs.filter(|block| block["type"] == "input").count();
    if inputs > 0 && view["submit"].is_null() {
        found.push("a view with an input needs `submit`".to_owned());
    }
    blocks(&view["blocks"], 100, found);
}

fn blocks(blocks: &Value, most: usize, found: &mut Vec<String>) {
    let Some(blocks) = blocks.as_array() else { return };
    if blocks.len() > most {
        found.push(format!("{} blocks, {most} are allowed", blocks.len()));
    }
    for (index, block) in blocks.iter().enumerate() {
        let at = format!("blocks[{index}]");
        longest(&block["block_id"], 255, &format!("{at}.block_id"), found);
        match block["type"].as_str() {
            Some("header") => plain(&block["text"], 150, &format!("{at}.text"), found),
            Some("section") => section(block, &at, found),
            Some("context") => {
                elements(block, 10, &at, found);
                for element in block["elements"].as_array().into_iter().flatten() {
                    text(element, 3000, &at, found);
                }
            }
            Some("actions") => {
                elements(block, 25, &at, found);
                let mut seen = Vec::new();
                for element in block["elements"].as_array().into_iter().flatten() {
                    action(element, &at, found);
                    let id = element["action_id"].as_str().unwrap_or("").to_owned();
                    if id.is_empty() || seen.contains(&id) {
                        found.push(format!("{at}: action_id `{id}` is missing or there twice"));
                    }
                    seen.push(id);
                }
            }
            Some("input") => {
                plain(&block["label"], 2000, &format!("{at}.label"), found);
                let most = block["element"]["max_length"].as_u64().unwrap_or(0);
                if most == 0 || most > 3000 {
                    found.push(format!("{at}: max_length {most}"));
                }
            }
            Some("divider") => {}
            other => found.push(format!("{at}: type {other:?}")),
        }
    }
}

fn section(block: &Value, at: &str, found: &mut Vec<String>) {
    if block["text"].is_null() && block["fields"].is_null() {
        found.push(format!("{at}: a section without text"));
    }
    if !block["text"].is_null() {
        text(&block["text"], 3000, at, found);
    }
    let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
    if fields.len() > 10 {
        found.push(format!("{at}: {} fields", fields.len()));
    }
    fields.iter().for_each(|field| text(field, 2000, at, found));
}

fn action(element: &Value, at: &str, found: &mut Vec<String>) {
    match element["type"].as_str() {
        Some("button") => {
            plain(&element["text"], 75, &format!("{at} button"), found);
            longest(&element["value"], 2000, &format!("{at} value"), found);
            longest(&element["url"], 3000, &format!("{at} url"), found);
            let style = element["style"].as_str().unwrap_or("primary");
            if !["primary", "danger"].contains(&style) {
                found.push(format!("{at}: style `{style}`"));
            }
        }
        Some("static_select") => {
            plain(&element["placeholder"], 150, &format!("{at} placeholder"), found);
            let options = element["options"].as_array().map_or(&[][..], Vec::as_slice);
            if options.is_empty() || options.len() > 100 {
                found.push(format!("{at}: {} options", options.len()));
            }
            for option in options {
                plain(&option["text"], 75, &format!("{at} option"), found);
                longest(&option["value"], 150, &format!("{at} option value"), found);
            }
        }
        other => found.push(format!("{at}: element {other:?}")),
    }
    let confirm = &element["confirm"];
    if !confirm.is_null() {
        plain(&confirm["title"], 100, &format!("{at} confirm.title"), found);
        text(&confirm["text"], 300, &format!("{at} confirm.text"), found);
        plain(&confirm["confirm"], 30, &format!("{at} confirm.confirm"), found);
        plain(&confirm["deny"], 30, &format!("{at} confirm.deny"), found);
    }
}

fn elements(block: &Value, most: usize, at: &str, found: &mut Vec<String>) {
    let count = block["elements"].as_array().map_or(0, Vec::len);
    if count == 0 || count > most {
        found.push(format!("{at}: {count} elements"));
    }
}

/// A text object: not empty, not too long, and calling nobody but a user by id.
fn text(text: &Value, most: usize, at: &str, found: &mut Vec<String>) {
    match text["type"].as_str() {
        Some("plain_text") => plain(text, most, at, found),
        Some("mrkdwn") => {
            filled(text, most, at, found);
            calls(text["text"].as_str().unwrap_or(""), at, found);
        }
        other => found.push(format!("{at}: text of type {other:?}")),
    }
}

fn plain(text: &Value, most: usize, at: &str, found: &mut Vec<String>) {
    if text["type"] != "plain_text" {
        found.push(format!("{at}: must be plain_text"));
    }
    filled(text, most, at, found);
}

fn filled(text: &Value, most: usize, at: &str, found: &mut Vec<String>) {
    if text["text"].as_str().is_none_or(str::is_empty) {
        found.push(format!("{at}: an empty text"));
    }
    longest(&text["text"], most, at, found);
}

fn longest(text: &Value, most: usize, at: &str, found: &mut Vec<String>) {
    let length = text.as_str().map_or(0, |text| text.chars().count());
    if length > most {
        found.push(format!("{at}: {length} characters, {most} are allowed"));
    }
}

/// Markup that would call a whole channel or a group, or that is broken.
fn calls(markup: &str, at: &str, found: &mut Vec<String>) {
    let mut rest = markup;
    while let Some(open) = rest.find('<') {
        let inside = &rest[open + 1..];
        let Some(close) = inside.find('>') else {
            found.push(format!("{at}: a `<` that is not closed: {rest}"));
            return;
        };
        let what = &inside[..close];
        if !(what.starts_with("http://") || what.starts_with("https://") || what.starts_with("@U"))
        {
            found.push(format!("{at}: `<{what}>` would call somebody or is no link"));
        }
        rest = &inside[close + 1..];
    }
    // Single characters would be read as markup of their own.
    let bare = markup.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
    let outside_of_links: String =
        bare.split('<').map(|it| it.split('>').next_back().unwrap_or("")).collect();
    if outside_of_links.contains('&') {
        found.push(format!("{at}: an `&` that is not escaped: {markup}"));
    }
}

fn required(body: &Value, keys: &[&str], at: &str, found: &mut Vec<String>) {
    for key in keys {
        if body[*key].as_str().is_none_or(str::is_empty) {
            found.push(format!("{at}`{key}` is required"));
        }
    }
}
