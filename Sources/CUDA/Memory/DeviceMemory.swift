// SPDX-License-Identifier: MIT
// SAFETY: In this file the driver reads and writes host memory only between the first and last byte of a buffer that
// lives during the call, or to whose life the caller has been told to see.

public import Platform

/// Memory of a device; freed when the value dies.
public struct DeviceMemory: ~Copyable, Sendable {
    public let context: DeviceContext
    /// The first byte's address on the device, a multiple of 256.
    public let address: UInt64
    public let byteCount: Int

    /// Takes `byteCount` bytes, at least one. They hold anything.
    ///
    /// - Throws: `unavailable` where the device has not that much.
    public init(byteCount: Int, context: DeviceContext) throws(FathomError) {
        precondition(byteCount >= 0)
        try context.enter()
        var address: UInt64 = 0
        try context.driver.check(
            context.functions.allocate(&address, max(1, byteCount)), "cuMemAlloc(\(byteCount) bytes)")
        self.context = context
        self.address = address
        self.byteCount = byteCount
    }

    /// Takes memory and copies `values` there.
    public init<Element: BitwiseCopyable>(_ values: [Element], context: DeviceContext) throws(FathomError) {
        let memory = try DeviceMemory(byteCount: values.count * MemoryLayout<Element>.stride, context: context)
        try memory.copy(from: values)
        self = memory
    }

    deinit {
        context.enterQuietly()
        _ = context.functions.free(address)
    }

    /// The address `byteOffset` bytes behind the first.
    public func address(atByte byteOffset: Int) -> UInt64 {
        precondition((0...byteCount).contains(byteOffset))
        return address + UInt64(byteOffset)
    }

    /// Copies `values` to the device and waits until they are there.
    public func copy<Element: BitwiseCopyable>(
        from values: [Element], atByte byteOffset: Int = 0
    ) throws(FathomError) {
        let code = values.withUnsafeBytes { bytes -> Int32? in
            guard let base = bytes.baseAddress, !bytes.isEmpty else { return nil }
            precondition(byteOffset >= 0 && byteOffset + bytes.count <= byteCount, "outside of the memory")
            context.enterQuietly()
            return context.functions.copyToDevice(address + UInt64(byteOffset), base, bytes.count)
        }
        guard let code else { return }
        try context.driver.check(code, "cuMemcpyHtoD(\(values.count * MemoryLayout<Element>.stride) bytes)")
    }

    /// Copies `bytes` to the device and waits until they are there.
    public func copy(from bytes: UnsafeRawBufferPointer, atByte byteOffset: Int = 0) throws(FathomError) {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        precondition(byteOffset >= 0 && byteOffset + bytes.count <= byteCount, "outside of the memory")
        try context.enter()
        try context.driver.check(
            context.functions.copyToDevice(address + UInt64(byteOffset), base, bytes.count),
            "cuMemcpyHtoD(\(bytes.count) bytes)")
    }

    /// `count` values from the device. Work of other streams than the default one is not waited for:
    /// synchronise it first.
    public func values<Element: BitwiseCopyable>(
        as type: Element.Type = Element.self, count: Int, atByte byteOffset: Int = 0
    ) throws(FathomError) -> [Element] {
        let size = count * MemoryLayout<Element>.stride
        precondition(byteOffset >= 0 && count >= 0 && byteOffset + size <= byteCount, "outside of the memory")
        guard count > 0 else { return [] }
        try context.enter()
        var code: Int32 = 0
        let values = [Element](unsafeUninitializedCapacity: count) { buffer, initializedCount in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            guard let base = bytes.baseAddress else { return }
            code = context.functions.copyToHost(base, address + UInt64(byteOffset), size)
            // Bytes that a failed copy left alone are still bytes; they are thrown away below.
            initializedCount = count
        }
        try context.driver.check(code, "cuMemcpyDtoH(\(size) bytes)")
        return values
    }

    /// Fills `byteCount` bytes, all where left out, with one value, in the stream's order.
    public func fill(
        _ value: UInt8, atByte byteOffset: Int = 0, byteCount count: Int? = nil, on stream: borrowing DeviceStream
    ) throws(FathomError) {
        let count = count ?? byteCount - byteOffset
        precondition(byteOffset >= 0 && count >= 0 && byteOffset + count <= byteCount, "outside of the memory")
        guard count > 0 else { return }
        try context.enter()
        try context.driver.check(
            context.functions.setBytesLater(address + UInt64(byteOffset), value, count, stream.handle),
            "cuMemsetD8Async(\(count) bytes)")
    }

    /// Fills all whole 32-bit words with one value, in the stream's order: for poison such as 0x7FC0_7FC0, a
    /// not-a-number in Float and in BFloat16.
    public func fill(words value: UInt32, on stream: borrowing DeviceStream) throws(FathomError) {
        guard byteCount >= 4 else { return }
        try context.enter()
        try context.driver.check(
            context.functions.setWordsLater(address, value, byteCount / 4, stream.handle),
            "cuMemsetD32Async(\(byteCount / 4) words)")
    }

    /// Copies `byteCount` bytes from other memory of the device, in the stream's order. Both must outlive the copy.
    public func copy(
        from source: borrowing DeviceMemory, byteCount count: Int, on stream: borrowing DeviceStream
    ) throws(FathomError) {
        precondition(count >= 0 && count <= byteCount && count <= source.byteCount, "outside of the memory")
        guard count > 0 else { return }
        try context.enter()
        try context.driver.check(
            context.functions.copyOnDeviceLater(address, source.address, count, stream.handle),
            "cuMemcpyDtoDAsync(\(count) bytes)")
    }

    /// Copies `byteCount` bytes of pinned memory to the device, in the stream's order. Both must outlive the copy.
    public func copy(
        from source: borrowing PinnedMemory, byteCount count: Int, on stream: borrowing DeviceStream
    ) throws(FathomError) {
        precondition(count >= 0 && count <= byteCount && count <= source.byteCount, "outside of the memory")
        guard count > 0 else { return }
        try context.enter()
        try context.driver.check(
            context.functions.copyToDeviceLater(address, source.base, count, stream.handle),
            "cuMemcpyHtoDAsync(\(count) bytes)")
    }

    /// Copies the first `byteCount` bytes to pinned memory, in the stream's order. Both must outlive the copy.
    public func copy(
        to target: borrowing PinnedMemory, byteCount count: Int, on stream: borrowing DeviceStream
    ) throws(FathomError) {
        precondition(count >= 0 && count <= byteCount && count <= target.byteCount, "outside of the memory")
        guard count > 0 else { return }
        try context.enter()
        try context.driver.check(
            context.functions.copyToHostLater(target.base, address, count, stream.handle),
            "cuMemcpyDtoHAsync(\(count) bytes)")
    }
}
