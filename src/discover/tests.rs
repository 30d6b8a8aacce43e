//! Discovery on real files.
