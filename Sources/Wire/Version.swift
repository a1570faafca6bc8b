// The version of the program. It is defined only here.

/// The version that `--version` prints and that answers the verb `V`.
package let version = "0.1.0"
