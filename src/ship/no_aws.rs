//! In the place of the AWS SDK, where the build has none (feature `aws`). Never: anything.

/// Nothing.
#[derive(Debug)]
pub(super) struct Aws;

impl Aws {
    /// Nothing.
    pub(super) fn new() -> Aws {
        Aws
    }
}
