//! Fetches pages.
