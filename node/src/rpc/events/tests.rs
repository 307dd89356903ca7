//! The event stream over a hub without a session: filters, resumption, ends.
