//! A directory of e-mails as a topic: the application of the original article.
