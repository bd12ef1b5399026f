//! "Did you mean": the known word that is nearest to a misspelt one.

/// The candidate that `word` most likely means, if any is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let is_part = word.len() >= 3
            && candidate.len() >= 3
            && (candidate.starts_with(&word) || word.starts_with(&candidate));
        if is_part { 1 } else { strsim::osa_distance(&word, &candidate) }
    };
    let bound = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Help for a word that is none of `known`: the nearest one, else all of them.
pub fn did_you_mean(word: &str, known: &[&str], what: &str) -> String {
    if let Some(nearest) = nearest(word, known.iter().copied()) {
        return format!("did you mean `{nearest}`?");
    }
    match known {
        [] => format!("there are no {what}"),
        known => format!("known {what}: {}", quoted(known)),
    }
}

/// The words in backticks, split by commas.
pub fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}
