//! What came of a decision, for people or for programs.

use super::Format;
use super::page::{print, print_json};
use crate::http::api::Decided;

/// Prints it; `verb` says what was decided.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_decided(format: Format, verb: &str, decided: &Decided) -> anyhow::Result<()> {
    if format == Format::Json {
        return print_json(decided);
    }
    let plan = decided.digest.map(|digest| format!(" plan {} of", digest.short()));
    let plan = plan.unwrap_or_default();
    let how = if decided.already { " already" } else { "" };
    Ok(print(&format!("{verb}{plan} incident {}{how}: {}\n", decided.id, decided.standing))?)
}
