// The writer of JSON: nothing from outside ends its string, and lists have the elements that they were given.

import Testing

@testable import Wire

struct JSONObjectTests {
    @Test func listsOfTextsAndOfObjects() {
        var object = JSONObject()
        object.add("none", [String]())
        object.add("texts", ["a", "\"b\"\n", "\u{1F511}"])
        object.add("things", [1, 2]) { $0.add("n", $1) }
        object.add("nothing", [Int]()) { $0.add("n", $1) }
        #expect(
            object.text
                == #"{"none":[],"texts":["a","\"b\"\u000a","\ud83d\udd11"],"things":[{"n":1},{"n":2}],"nothing":[]}"#)
    }

    @Test func numbersOfEachKind() {
        var object = JSONObject()
        object.add("least", Int.min)
        object.add("most", UInt64.max)
        object.add("pid", Int32(-1))
        object.add("uid", UInt32.max)
        object.add("half", number: "0.5")
        #expect(
            object.text
                == #"{"least":-9223372036854775808,"most":18446744073709551615,"pid":-1,"uid":4294967295,"half":0.5}"#
        )
    }

    /// A text is cut between two characters, never inside of one.
    @Test func aTextIsCutAtACharacter() {
        var object = JSONObject()
        object.add("a", "äöü", limit: 5)
        object.add("b", "abc", limit: 2)
        object.add("c", "abc", limit: 0)
        #expect(object.text == #"{"a":"\u00e4\u00f6","b":"ab","c":""}"#)
    }
}
