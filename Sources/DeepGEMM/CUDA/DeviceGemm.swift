// SPDX-License-Identifier: MIT

internal import CUDA
public import Platform

/// D = A·Bᵀ on a GPU: A is [M, K], B [N, K], D [M, N], FP8 with scales 1×128 and 128×128 or BF16.
///
/// Puts the product into the device's stream and returns; the kernel is compiled when first needed. FP8 products are
/// summed in float32 after every 128 of K. A row's bits depend on its own numbers, on B and on the kernel that the plan
/// chooses for the shape; the same call always gives the same bits.
///
/// - Parameters:
///   - groups: which rows go with which matrix of B; nil for one product.
///   - c: what is added: nil for nothing, or D's own address for float32 results.
///   - multiprocessorLimit: most multiprocessors to use; nil for all.
///   - startsEarly: the kernel may be set up while the one before it in the stream still runs.
/// - Throws: `usage` naming the operand, what was given and what is legal; what the driver or the compiler says.
public func gemm(
    _ a: DeviceOperand, _ b: DeviceOperand, groups: DeviceGroupLayout? = nil, adding c: DeviceResult? = nil,
    into d: DeviceResult, multiprocessorLimit: Int? = nil, startsEarly: Bool = false, on device: GemmDevice
) throws(FathomError) {
    let call = DeviceGemmCall(a: a, b: b, groups: groups, c: c, d: d)
    let shape = try call.checkedShape()
    guard a.rowCount > 0, b.rowCount > 0, shape.slices > 0 else { return }
    let plan = device.plan(shape, multiprocessorLimit: multiprocessorLimit)
    let configuration = plan.configuration
    let source = configuration.source(waitLimitNanoseconds: device.waitLimitNanoseconds)
    let kernel = try device.library.kernel(CUDAGemmConfiguration.kernelName, of: source)
    let (tilesM, tilesN) = configuration.tiles(shape)
    let scratch = try device.scratch(
        count: configuration.workspaceCount(tiles: tilesM * tilesN),
        counters: configuration.counterCount(tiles: tilesM * tilesN))
    var arguments = try call.maps(configuration, driver: device.library.context.device.driver)
        .map(KernelArgument.tensorMap)
    arguments += [
        .uint32(UInt32(a.rowCount)), .uint32(UInt32(b.rowCount)), .uint32(UInt32(a.columnCount)),
        .uint32(UInt32(b.groupCount)), .address(call.rowsAddress), .address(scratch.workspace),
        .address(scratch.counters),
    ]
    // A masked product's tiles are counted on the device: a plan for expected rows must not limit the grid.
    let limit = min(multiprocessorLimit ?? device.machine.multiprocessors, device.machine.multiprocessors)
    let blocks =
        shape.grouping == .none ? plan.gridCount : max(1, limit / configuration.cluster) * configuration.cluster
    try kernel.launch(
        LaunchConfiguration(
            grid: Dimensions(blocks), block: Dimensions(configuration.threadCount),
            cluster: Dimensions(configuration.cluster), dynamicSharedBytes: configuration.sharedBytes,
            startsEarly: startsEarly),
        arguments, on: device.stream)
}

/// The arguments of one product on a device: checked here, and turned into tensor maps.
package struct DeviceGemmCall {
    var a: DeviceOperand
    var b: DeviceOperand
    var groups: DeviceGroupLayout?
    var c: DeviceResult?
    var d: DeviceResult

    package init(
        a: DeviceOperand, b: DeviceOperand, groups: DeviceGroupLayout? = nil, c: DeviceResult? = nil, d: DeviceResult
    ) {
        self.a = a
        self.b = b
        self.groups = groups
        self.c = c
        self.d = d
    }

    /// The address of ids or counts; 0 without groups.
    var rowsAddress: UInt64 {
        switch groups {
        case .ids(let address, _), .masked(let address, _): address
        case nil: 0
        }
    }

    /// Matrices of A and of D.
    private var sliceCount: Int {
        if case .masked = groups { return a.groupCount }
        return 1
    }

    /// The descriptors of A, B, their scales (of D where there are none) and D.
    func maps(
        _ configuration: CUDAGemmConfiguration, driver: CUDADriver
    ) throws(FathomError) -> [TensorMap] {
        let c = configuration
        let half = c.cluster
        let result = resultLayout(c)
        let layouts = [
            (
                operandLayout(a, rows: c.blockRows / (c.sharesA ? half : 1), c),
                a.columnCount > 0 ? a.address : d.address
            ),
            (
                operandLayout(b, rows: c.blockColumns / (c.sharesA ? 1 : half), c),
                b.columnCount > 0 ? b.address : d.address
            ),
            scaleLayout(a, box: c.blockRows) ?? (result, d.address),
            scaleLayout(b, box: 4) ?? (result, d.address),
            (result, d.address),
        ]
        var maps: [TensorMap] = []
        for (layout, address) in layouts { maps.append(try TensorMap(layout, at: address, driver: driver)) }
        return maps
    }

    private func operandLayout(
        _ operand: DeviceOperand, rows: Int, _ configuration: CUDAGemmConfiguration
    ) -> TensorMap.Layout {
        let size = configuration.element.byteCount
        // Without K nothing is copied, but a tensor has at least one element.
        let rowBytes = max(16, operand.stride * size)
        return TensorMap.Layout(
            element: configuration.element == .float8E4M3 ? .uint8 : .bfloat16,
            dimensions: [max(1, operand.columnCount), operand.rowCount, operand.groupCount],
            byteStrides: [rowBytes, stride(operand.groupCount, operand.groupStride * size, rowBytes)],
            box: [configuration.blockDepth, rows, 1], swizzle: .bytes128)
    }

    private func scaleLayout(_ operand: DeviceOperand, box: Int) -> (TensorMap.Layout, UInt64)? {
        guard let scales = operand.scales, operand.columnCount > 0 else { return nil }
        let layout = TensorMap.Layout(
            element: .float32,
            dimensions: [
                (operand.rowCount + scales.rows - 1) / scales.rows, (operand.columnCount + 127) / 128,
                operand.groupCount,
            ],
            byteStrides: [
                scales.blockStride * 4, stride(operand.groupCount, scales.groupStride * 4, scales.blockStride * 4),
            ],
            box: [box, 1, 1])
        return (layout, scales.address)
    }

    private func resultLayout(_ configuration: CUDAGemmConfiguration) -> TensorMap.Layout {
        let size = configuration.output.byteCount
        let panel = configuration.panelBytes
        return TensorMap.Layout(
            element: configuration.output == .bfloat16 ? .bfloat16 : .float32,
            dimensions: [b.rowCount, a.rowCount, sliceCount],
            byteStrides: [d.stride * size, stride(sliceCount, d.groupStride * size, d.stride * size)],
            box: [panel / size, 64, 1], swizzle: panel == 128 ? .bytes128 : panel == 64 ? .bytes64 : .bytes32)
    }

    /// The stride of an axis; where it has one index any legal number.
    private func stride(_ count: Int, _ bytes: Int, _ legal: Int) -> Int { count > 1 ? bytes : legal }
}

extension CUDAGemmConfiguration {
    /// Bytes of a row of one panel of the output, the width of its swizzle; `kSpan` in `gemm_layout.cuh`.
    var panelBytes: Int {
        let bytes = storeColumns * output.byteCount
        return [128, 64, 32].first { bytes % $0 == 0 } ?? 32
    }
}
