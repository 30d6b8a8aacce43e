//! AWS as far as it can be had on loopback: moto, and what stands around it. Comes in: faults that a test
//! asks for. Goes out: what was asked of AWS, and what it has. Never: an account, a call that leaves the
//! machine.

mod alarms;
pub(crate) mod double;
pub(crate) mod mirrored;
mod scenarios;

use crate::support::run;
use double::Double;
use std::process::Command;

#[test]
fn the_double_of_aws_answers_and_fails_as_it_says() {
    let double = Double::start();
    let mut command = Command::new(super::part("VPCCNI_AWS_PYTHON"));
    command.arg(double::script("check.py")).arg(double.ports());
    let ended = run(command, b"");
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(double.ask("/groups"), serde_json::json!({ "g": 14 }));
}
