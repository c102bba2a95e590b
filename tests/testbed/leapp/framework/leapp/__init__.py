"""A stand-in of leapp's framework, which no registry here has: the few names that actors of this project use, with the
checks that matter (types of fields, what an actor may consume and produce). Written from its documentation."""
