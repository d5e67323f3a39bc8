"""The YAML border: files become records here, with every mistake located at file:line, and nowhere deeper."""
