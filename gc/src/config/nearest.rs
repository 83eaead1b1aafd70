//! The known name closest to a misspelt one.

/// Longest name compared in full; the rest of a longer one does not count.
const LIMIT: usize = 48;

/// Edit distance (insert, delete, replace) of the first [`LIMIT`] bytes, ignoring case.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let (a, b) = (&a[..a.len().min(LIMIT)], &b[..b.len().min(LIMIT)]);
    let mut row = [0; LIMIT + 1];
    for (j, r) in row.iter_mut().enumerate() {
        *r = j;
    }
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The closest of `names`; empty if there are none.
pub fn nearest(name: &[u8], names: impl Iterator<Item = &'static str>) -> &'static str {
    names
        .min_by_key(|n| distance(name, n.as_bytes()))
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distances() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"MODE", b"mode"), 0);
        assert_eq!(
            nearest(b"DUNEGC_STAT", ["DUNEGC_MODE", "DUNEGC_STATS"].into_iter()),
            "DUNEGC_STATS"
        );
    }

    /// The textbook recursion.
    fn model(a: &[u8], b: &[u8]) -> usize {
        match (a, b) {
            ([], r) | (r, []) => r.len(),
            ([x, a1 @ ..], [y, b1 @ ..]) => (model(a1, b1) + usize::from(x != y))
                .min(model(a1, b) + 1)
                .min(model(a, b1) + 1),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_model(a in "[a-c]{0,5}", b in "[a-c]{0,5}") {
            prop_assert_eq!(distance(a.as_bytes(), b.as_bytes()), model(a.as_bytes(), b.as_bytes()));
        }
    }
}
