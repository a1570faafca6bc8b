// The program's version, in the one place it stands.

/// As `--version` and the verb `V` answer it.
package let version = "0.1.0"
