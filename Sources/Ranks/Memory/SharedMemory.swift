// SPDX-License-Identifier: MIT

internal import CFathom
internal import Platform

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Memory that processes share: a mapping of a file of memory without a name, which is gone with the last process that
/// maps it, killed or not. Zero at the start; pages that nobody touched cost nothing.
struct SharedMemory: ~Copyable, @unchecked Sendable {
    // SAFETY: @unchecked Sendable because address and size never change; who writes what when is for the users to
    // arrange, as with any shared memory.

    let baseAddress: UnsafeMutableRawPointer
    let byteCount: Int
    /// The file, by which others of this machine find the memory while it is open; −1 once closed or where there is
    /// none.
    private(set) var descriptor: Int32

    /// New memory.
    ///
    /// - Throws: `unavailable` if the system has none, naming `purpose`.
    init(byteCount: Int, purpose: String) throws(FathomError) {
        let descriptor = fathom_memory_file("fathom")
        guard descriptor >= 0 else {
            throw FathomError(.unavailable, "no shared memory for \(purpose): \(systemErrorText())")
        }
        guard ftruncate(descriptor, max(byteCount, 1)) == 0 else {
            let reason = systemErrorText()
            close(descriptor)
            throw FathomError(.unavailable, "no shared memory of \(byteCount) bytes for \(purpose): \(reason)")
        }
        try self.init(mapping: descriptor, byteCount: byteCount, purpose: purpose)
    }

    /// New memory that only this process sees, for ranks that are threads: large pages are easier to get for it.
    ///
    /// - Throws: `unavailable` if the system has none, naming `purpose`.
    init(ownByteCount byteCount: Int, purpose: String) throws(FathomError) {
        try self.init(mapping: -1, byteCount: byteCount, purpose: purpose)
    }

    /// The memory that process `process` has open as `descriptor`.
    ///
    /// - Throws: `unavailable` if it is not there, no longer, smaller, or another user's.
    init(process: Int32, descriptor: Int32, byteCount: Int, purpose: String) throws(FathomError) {
        let path = "/proc/\(process)/fd/\(descriptor)"
        let own = open(path, O_RDWR | O_CLOEXEC)
        guard own >= 0 else {
            throw FathomError(.unavailable, "cannot open \(purpose) as \(path): \(systemErrorText())")
        }
        var status = stat()
        guard fstat(own, &status) == 0, status.st_size >= byteCount else {
            close(own)
            throw FathomError(
                .unavailable, "\(path) has \(status.st_size) bytes; \(purpose) needs \(byteCount)")
        }
        try self.init(mapping: own, byteCount: byteCount, purpose: purpose)
    }

    /// Takes the descriptor over; −1 for memory without a file.
    private init(mapping descriptor: Int32, byteCount: Int, purpose: String) throws(FathomError) {
        guard
            let memory = mmap(
                nil, max(byteCount, 1), PROT_READ | PROT_WRITE,
                (descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_NORESERVE, descriptor, 0),
            memory != MAP_FAILED
        else {
            let reason = systemErrorText()
            if descriptor >= 0 { close(descriptor) }
            throw FathomError(.unavailable, "cannot map \(byteCount) bytes for \(purpose): \(reason)")
        }
        // Large pages spare most of the address translation of a long walk; refusal does no harm.
        if byteCount >= 4 << 20 { madvise(memory, byteCount, MADV_HUGEPAGE) }
        // SAFETY: a mapping of this size, unmapped only in deinit.
        baseAddress = memory
        self.byteCount = max(byteCount, 1)
        self.descriptor = descriptor
    }

    /// Others can no longer find the memory; those who map it keep it.
    mutating func closeDescriptor() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        munmap(baseAddress, byteCount)
    }
}
