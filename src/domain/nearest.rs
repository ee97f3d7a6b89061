//! The nearest valid name to one that is not: what a person probably meant.

/// Further away than this it is a guess and not a help; `similarity` runs from 0 to 1.
const ENOUGH: f64 = 0.75;

/// "did you mean `pods`?", when one of the names is near enough.
pub fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    closest(name, names).map(|name| format!("did you mean `{name}`?"))
}

/// The nearest of the names, when one is near enough.
pub fn closest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_lowercase();
    let scored = names.into_iter().map(|candidate| {
        let other = candidate.to_lowercase();
        let score = if is_part(&lower, &other) { ENOUGH } else { 0.0 };
        (strsim::jaro_winkler(&lower, &other).max(score), candidate)
    });
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(score, _)| *score >= ENOUGH).map(|(_, name)| name)
}

/// A short name is a good part of a longer one, such as `age` of `agee`.
fn is_part(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short.len() >= 3 && long.len() <= short.len() * 2 && long.starts_with(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let names = ["pods", "events", "rollout", "containers"];
        assert_eq!(closest("pod", names), Some("pods"));
        assert_eq!(closest("Rolout", names), Some("rollout"));
        assert_eq!(closest("container", names), Some("containers"));
        assert_eq!(closest("zebra", names), None);
        assert_eq!(nearest("event", names).as_deref(), Some("did you mean `events`?"));
    }
}
