//! One exchange with servers that misbehave.
