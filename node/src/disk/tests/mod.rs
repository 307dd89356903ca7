//! Tests of the disk, by what they show. Never here: sleeping, or a fixed path.

mod create;
mod cuts;
mod forgetful;
mod merge;
mod resume;
mod safety;
mod sample;
mod serve;
mod store;
