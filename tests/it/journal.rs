//! The journal's contract, the same over every store; and what is particular to a file.

mod contract;
mod faults;
mod file;
mod support;
mod tamper;
