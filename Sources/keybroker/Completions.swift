// What a shell offers for the names of keys, users and units. The shell runs these commands when somebody presses Tab.
//
// Must never offer a name with a character that a shell expands: bash expands what it is offered. Must never make somebody
// wait for long. The commands are read by bash, zsh and fish, so they have no variables, no groups, and no colon, where zsh
// would end them.

internal import ArgumentParser

extension CompletionKind {
    /// The keys that the caller may get. The broker is asked, so its log has a list.
    static var permittedKeys: CompletionKind { .shellCommand(listed) }

    /// The keys that the caller may get, and those of the system's policy if the caller can read it.
    static var keys: CompletionKind {
        .shellCommand(
            #"sh -c "\#(listed); timeout 5 keybroker policy show 2>/dev/null | tail -n +2 | cut -d ' ' -f 1" "#
                + "| grep -x '[a-z0-9._-]*' | sort -u")
    }

    /// The users that the name service lists.
    static var users: CompletionKind {
        .shellCommand("timeout 5 getent passwd | grep -o '^[A-Za-z0-9._-]*' | sort -u")
    }

    /// The services that systemd knows, running or installed.
    static var units: CompletionKind {
        let list = "--type=service --plain --full --no-legend --no-pager 2>/dev/null"
        return .shellCommand(
            #"sh -c "timeout 5 systemctl list-units --all \#(list); timeout 5 systemctl list-unit-files \#(list)" "#
                + "| cut -d ' ' -f 1 | grep -x '[A-Za-z0-9_.@-]*' | sort -u")
    }

    private static let listed = "timeout 5 keybroker list 2>/dev/null"
}
