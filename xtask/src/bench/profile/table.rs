//! The executions of the brackets as two tables: by function, and by source line.

use std::collections::BTreeMap;

use super::program::Frame;

/// A stage: what was executed in its brackets, for each request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage {
    pub(super) name: String,
    /// Instructions per request, with the functions that each belongs to, outermost first.
    pub(super) executed: Vec<(Vec<Frame>, f64)>,
}

/// Below this share of a stage a function is counted with the one it is inlined into.
const LEAST_SHARE: f64 = 0.005;
/// The same for a number of instructions.
const LEAST: f64 = 0.05;
/// The most lines of source shown.
const MOST_LINES: usize = 60;

/// A function, and those inlined into it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    name: String,
    own: f64,
    inlined: Vec<Node>,
}

impl Node {
    fn total(&self) -> f64 {
        self.own + self.inlined.iter().map(Node::total).sum::<f64>()
    }

    fn add(&mut self, path: &[Frame], count: f64) {
        let Some((frame, rest)) = path.split_first() else {
            self.own += count;
            return;
        };
        let known = self.inlined.iter().position(|node| node.name == frame.function);
        let place = known.unwrap_or_else(|| {
            self.inlined.push(Node {
                name: frame.function.clone(),
                ..Node::default()
            });
            self.inlined.len() - 1
        });
        self.inlined[place].add(rest, count);
    }

    /// Sorts by cost, and gives what is small to its parent, so that the sum stays.
    fn simplify(&mut self, least: f64) {
        let (keep, small): (Vec<Node>, Vec<Node>) = std::mem::take(&mut self.inlined)
            .into_iter()
            .partition(|node| node.total() >= least);
        self.own += small.iter().map(Node::total).sum::<f64>();
        self.inlined = keep;
        self.inlined.sort_by(|a, b| b.total().total_cmp(&a.total()));
        for node in &mut self.inlined {
            node.simplify(least);
        }
    }

    fn print(&self, depth: usize, lines: &mut Vec<String>) {
        lines.push(format!(
            "  {:>9.1} {:>9.1}  {}{}",
            self.total(),
            self.own,
            "  ".repeat(depth),
            self.name
        ));
        for node in &self.inlined {
            node.print(depth + 1, lines);
        }
    }
}

/// The functions of a stage: instructions per request with those of the functions inlined into it, and without.
pub(super) fn functions(stage: &Stage) -> Vec<String> {
    let mut root = Node::default();
    for (frames, count) in &stage.executed {
        root.add(frames, *count);
    }
    let total = root.total();
    // What is called and small has no parent to be counted with.
    root.simplify((total * LEAST_SHARE).max(LEAST));
    let mut lines = vec![
        format!("{}: {total:.1} instructions per request", stage.name),
        format!("  {:>9} {:>9}  function, and what is inlined into it", "all", "self"),
    ];
    for node in &root.inlined {
        node.print(0, &mut lines);
    }
    if root.own > 0.0 {
        lines.push(format!("  {:>9.1} {:>9.1}  others", root.own, root.own));
    }
    lines
}

/// The source lines of all stages, the most expensive first. `source` is the text of a line.
pub(super) fn lines(stages: &[Stage], mut source: impl FnMut(&str, u32) -> String) -> Vec<String> {
    let mut counts: BTreeMap<(&str, u32, &str), f64> = BTreeMap::new();
    for stage in stages {
        for (frames, count) in &stage.executed {
            if let Some(frame) = frames.last() {
                *counts.entry((&frame.file, frame.line, &stage.name)).or_default() += count;
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let total: f64 = counts.iter().map(|(_, count)| count).sum();
    let width = stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0);
    let mut table = vec![format!("by source line: {total:.1} instructions per request")];
    let rest = counts.split_off(counts.len().min(MOST_LINES));
    let place = |file: &str, line: u32| format!("{file}:{line}");
    let places = counts
        .iter()
        .map(|((file, line, _), _)| place(file, *line).len())
        .max()
        .unwrap_or(0);
    for ((file, line, stage), count) in &counts {
        let text = match line {
            0 => "(of several lines, by the compiler)".to_owned(),
            _ => source(file, *line),
        };
        let row = format!(
            "  {count:>9.1}  {stage:<width$}  {:<places$}  {text}",
            place(file, *line)
        );
        table.push(row.trim_end().to_owned());
    }
    if !rest.is_empty() {
        let sum: f64 = rest.iter().map(|(_, count)| count).sum();
        table.push(format!("  {sum:>9.1}  in {} more lines", rest.len()));
    }
    table
}
