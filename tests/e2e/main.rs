//! Whole nodes, over real TCP, disk and gRPC: in process through [`harness`], as programs in
//! [`binaries`] and what builds on it. One subject a file. Never here: what one room can show alone.

mod binaries;
mod fake;
mod harness;
mod web_server;

mod auth;
mod bad_input;
mod changed;
mod commands;
mod dev;
mod ends;
mod events;
mod examples;
mod hostile;
mod hygiene;
mod jobs;
mod magnets;
mod operator;
mod policies;
mod programs;
mod resume;
mod rules;
mod selection;
mod settings;
mod simulation;
mod sources;
mod strategist;
mod told;
mod top;
mod udp_tracker;
mod watch;
mod web_seeds;
mod whole;
