// SPDX-License-Identifier: MIT
// SAFETY: In this file 128 bytes are copied between this value and memory that is at least that long.

public import Platform

/// What the copy engine knows about a tensor on the device: a descriptor of 128 bytes, passed to a kernel by value as
/// `const __grid_constant__` and aligned to 64 bytes.
public struct TensorMap: Sendable {
    /// Bytes of a descriptor.
    public static let byteCount = 128
    /// Bytes that a descriptor's address is a multiple of.
    public static let alignment = 64

    private var words: InlineArray<16, UInt64>

    /// The descriptor's 16 words, for tests and for patching on the device.
    public var contents: [UInt64] { words.indices.map { words[$0] } }

    /// Encodes `layout` for the tensor whose first element is at `address`.
    ///
    /// - Throws: `configuration`, naming the rule that the layout breaks.
    public init(_ layout: Layout, at address: UInt64, driver: CUDADriver) throws(FathomError) {
        try layout.check(address: address)
        let dimensions = layout.dimensions.map(UInt64.init)
        let strides = layout.byteStrides.map(UInt64.init)
        let box = layout.box.map(UInt32.init)
        let steps = layout.elementSteps.map(UInt32.init)
        var words = InlineArray<16, UInt64>(repeating: 0)
        let code = withUnsafeTemporaryAllocation(byteCount: Self.byteCount, alignment: Self.alignment) { block in
            guard let base = block.baseAddress else { return CUDACode.success }
            let code = driver.functions.encodeTiledTensorMap(
                base, layout.element.rawValue, UInt32(dimensions.count), address, dimensions, strides, box, steps,
                layout.interleave.rawValue, layout.swizzle.rawValue, layout.l2Promotion.rawValue,
                layout.outOfBounds.rawValue)
            for index in words.indices { words[index] = base.load(fromByteOffset: 8 * index, as: UInt64.self) }
            return code
        }
        try driver.check(code, "cuTensorMapEncodeTiled(\(layout))")
        self.words = words
    }

    /// Writes the descriptor to 128 bytes at `target`, a multiple of 64.
    func store(in target: UnsafeMutableRawPointer) {
        for index in words.indices { target.storeBytes(of: words[index], toByteOffset: 8 * index, as: UInt64.self) }
    }
}
