//! What the command line shares: the client of a running service, tables, the terminal.

pub mod client;
pub mod table;
pub mod terminal;
