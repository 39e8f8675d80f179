//! A few of many combinations, such that any two values that can come together do so in one of them. A mistake that shows in
//! a combination nearly always shows in two of its values.

use std::collections::HashSet;

/// A pair of values, each with the number of its dimension.
type Pair = [(usize, usize); 2];

/// Thins rows out, each of which has a value of every dimension. Each pair of values that is in one of `all` is in one of the
/// result. The same rows give the same result.
pub(super) fn cover<const N: usize>(all: &[[usize; N]]) -> Vec<[usize; N]> {
    let mut missing: HashSet<Pair> = all.iter().flat_map(pairs).collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let gain = |row: &&[usize; N]| pairs(row).filter(|pair| missing.contains(pair)).count();
        // The first of the best: `max_by_key` takes the last.
        let Some(best) = all.iter().rev().max_by_key(gain) else {
            break;
        };
        pairs(best).for_each(|pair| {
            missing.remove(&pair);
        });
        chosen.push(*best);
    }
    chosen
}

fn pairs<const N: usize>(row: &[usize; N]) -> impl Iterator<Item = Pair> {
    let firsts = row.iter().copied().enumerate();
    firsts.flat_map(move |first| {
        let seconds = row.iter().copied().enumerate().skip(first.0 + 1);
        seconds.map(move |second| [first, second])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(exists: fn(&[usize; 4]) -> bool) -> Vec<[usize; 4]> {
        let mut rows = Vec::new();
        for row in 0..81 {
            rows.push([row % 3, row / 3 % 3, row / 9 % 3, row / 27]);
        }
        rows.retain(exists);
        rows
    }

    #[test]
    fn every_pair_that_exists_is_in_a_chosen_row() {
        for exists in [
            |_: &[usize; 4]| true,
            |row: &[usize; 4]| row[0] != 2 || row[1] == 1,
            |row: &[usize; 4]| row[3] == 0,
        ] {
            let all = grid(exists);
            let chosen = cover(&all);
            assert!(chosen.iter().all(|row| all.contains(row)));
            let covered: HashSet<Pair> = chosen.iter().flat_map(pairs).collect();
            assert_eq!(covered, all.iter().flat_map(pairs).collect());
            assert!(chosen.len() <= 15, "{}", chosen.len());
        }
    }

    #[test]
    fn nothing_is_covered_by_nothing() {
        assert_eq!(cover::<2>(&[]), Vec::<[usize; 2]>::new());
        assert_eq!(cover(&[[4, 7]]), [[4, 7]]);
    }
}
