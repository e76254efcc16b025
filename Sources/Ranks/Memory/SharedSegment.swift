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
