//! What is written about shoal: the reference is the API's, every part of the API is explained and
//! tested, the commands that pages show are commands, and links lead somewhere. Never here: a node.

mod api;
mod commands;
mod comments;
mod coverage;
mod links;
mod page;
mod reference;
mod run;
