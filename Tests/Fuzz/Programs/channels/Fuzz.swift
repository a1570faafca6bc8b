// libFuzzer's entry to `FuzzTarget.channels`.
//
// Must never do anything of its own, or `make test` would not do the same.

import FuzzTargets

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // Safety: libFuzzer gives as many bytes as it says, and they are copied.
    unsafe FuzzTarget.channels.runOrStop(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
