//! Who is asking: tokens, identities, and what each may do.
