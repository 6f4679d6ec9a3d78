//! Which of several ready endpoints gets the next request.
