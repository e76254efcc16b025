// SPDX-License-Identifier: MIT
// SAFETY: In this file bytes are written inside a block whose size was computed from the same arguments, and pointers
// into it live during the call that is given them.

/// One parameter of a kernel. Its size and alignment must be those of the parameter's type in the kernel's source.
public enum KernelArgument: Sendable {
    /// An address on the device: any pointer type.
    case address(UInt64)
    case int32(Int32)
    case uint32(UInt32)
    case int64(Int64)
    case uint64(UInt64)
    case float(Float)
    /// `const __grid_constant__ TensorMap`: 128 bytes, a multiple of 64.
    case tensorMap(TensorMap)
    /// A structure's bytes, with the alignment of its largest member.
    case structure([UInt8], alignment: Int)

    /// The first byte of `memory`.
    public static func memory(_ memory: borrowing DeviceMemory) -> KernelArgument { .address(memory.address) }

    private var byteCount: Int {
        switch self {
        case .int32, .uint32, .float: 4
        case .address, .int64, .uint64: 8
        case .tensorMap: TensorMap.byteCount
        case .structure(let bytes, _): bytes.count
        }
    }

    private var alignment: Int {
        if case .structure(_, let alignment) = self { return alignment }
        if case .tensorMap = self { return TensorMap.alignment }
        return byteCount
    }

    private func store(in target: UnsafeMutableRawPointer) {
        switch self {
        case .address(let value), .uint64(let value): target.storeBytes(of: value, as: UInt64.self)
        case .int64(let value): target.storeBytes(of: value, as: Int64.self)
        case .int32(let value): target.storeBytes(of: value, as: Int32.self)
        case .uint32(let value): target.storeBytes(of: value, as: UInt32.self)
        case .float(let value): target.storeBytes(of: value, as: Float.self)
        case .tensorMap(let map): map.store(in: target)
        case .structure(let bytes, _):
            for (index, byte) in bytes.enumerated() { target.storeBytes(of: byte, toByteOffset: index, as: UInt8.self) }
        }
    }

    /// Calls `body` with the addresses of all parameters, as the driver wants them.
    static func withAddresses<Result>(
        of arguments: [KernelArgument], _ body: (UnsafeMutablePointer<UnsafeMutableRawPointer?>?) -> Result
    ) -> Result {
        guard !arguments.isEmpty else { return body(nil) }
        var offsets: [Int] = []
        var end = 0
        for argument in arguments {
            let alignment = argument.alignment
            let offset = (end + alignment - 1) / alignment * alignment
            offsets.append(offset)
            end = offset + argument.byteCount
        }
        return withUnsafeTemporaryAllocation(byteCount: end, alignment: TensorMap.alignment) { block in
            let base = block.baseAddress
            var addresses = offsets.map { offset in base.map { $0 + offset } }
            for (argument, address) in zip(arguments, addresses) {
                if let address { argument.store(in: address) }
            }
            return addresses.withUnsafeMutableBufferPointer { body($0.baseAddress) }
        }
    }
}
