//! Input bytes as choices. After its end every choice is the first one, so that a run comes to an end.

use arbitrary::{Arbitrary, Unstructured};

/// The input of a fuzzer, taken from its beginning.
pub(crate) struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(Unstructured::new(input))
    }

    /// Whether the input is used up.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Any value of a type. After the end of the input: zero.
    pub(crate) fn any<T: Arbitrary<'a> + Default>(&mut self) -> T {
        self.0.arbitrary().unwrap_or_default()
    }

    /// A number below `bound`, which is at most 256.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.any::<u8>()) % bound
    }

    /// One of several values.
    pub(crate) fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// One time in `many`.
    pub(crate) fn rarely(&mut self, many: usize) -> bool {
        self.below(many) == many - 1
    }

    /// The next bytes, as many as are left of `count`.
    #[cfg(feature = "partitions")]
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        self.0.bytes(count.min(self.0.len())).unwrap_or_default()
    }
}
