// SPDX-License-Identifier: MIT

internal import Platform
internal import Synchronization

/// Shared memory with several owners in this process.
final class SharedSegment: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because the address never changes, as in `SharedMemory`.

    let baseAddress: UnsafeMutableRawPointer
    let byteCount: Int
    private let memory: Mutex<SharedMemory>

    init(_ memory: consuming sending SharedMemory) {
        baseAddress = memory.baseAddress
        byteCount = memory.byteCount
        self.memory = Mutex(memory)
    }

    /// See `SharedMemory`.
    var descriptor: Int32 { memory.withLock { $0.descriptor } }

    /// See `SharedMemory`.
    func closeDescriptor() { memory.withLock { $0.closeDescriptor() } }
}

/// Where ranks that are threads of one process hand each other their segments.
final class SegmentTable: Sendable {
    private let segments = Mutex<[Int: SharedSegment]>([:])

    subscript(rank: Int) -> SharedSegment? {
        get { segments.withLock { $0[rank] } }
        set { segments.withLock { $0[rank] = newValue } }
    }
}
