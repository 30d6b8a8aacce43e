//! What is asked of an instance.
