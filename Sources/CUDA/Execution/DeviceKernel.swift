// SPDX-License-Identifier: MIT
// SAFETY: In this file a function's handle is used while its module, which the value holds, is loaded; the driver
// copies parameters and attributes during the call.

import CFathom
public import Platform

/// A kernel that is ready to be launched.
public struct DeviceKernel: @unchecked Sendable {
    /// What the driver says about the kernel.
    public struct Attributes: Sendable, Equatable {
        /// Threads that a block may have at most, by its registers.
        public var maximumBlockThreads: Int
        public var staticSharedBytes: Int
        /// Stack and spilled registers of a thread in bytes: 0 in a good kernel.
        public var localBytes: Int
        public var registers: Int
        /// Dynamic shared memory that a launch may ask for, in bytes.
        public var maximumDynamicSharedBytes: Int
    }

    /// Blocks of a cluster that every Hopper GPU can launch.
    public static let portableClusterSize = 8

    public let name: String
    public let module: DeviceModule
    public let attributes: Attributes
    private let function: OpaquePointer

    private var context: DeviceContext { module.context }

    /// Numbers of `CUfunction_attribute` in cuda.h.
    private enum Attribute: Int32 {
        case maximumBlockThreads = 0
        case staticSharedBytes = 1
        case localBytes = 3
        case registers = 4
        case maximumDynamicSharedBytes = 8
        case allowsNonPortableClusters = 14
    }

    init(name: String, module: DeviceModule, function: OpaquePointer) throws(FathomError) {
        let context = module.context
        func value(_ attribute: Attribute) throws(FathomError) -> Int {
            var value: Int32 = 0
            try context.driver.check(
                context.functions.functionAttribute(&value, attribute.rawValue, function),
                "cuFuncGetAttribute(\(attribute), \(name))")
            return Int(value)
        }
        func set(_ attribute: Attribute, _ value: Int) throws(FathomError) {
            try context.driver.check(
                context.functions.setFunctionAttribute(function, attribute.rawValue, Int32(value)),
                "cuFuncSetAttribute(\(attribute) = \(value), \(name))")
        }
        let staticBytes = try value(.staticSharedBytes)
        // The limits are opened once and wide; what a launch takes is in its configuration.
        let dynamicBytes = max(0, context.device.limits.maximumSharedBytes - staticBytes)
        try set(.maximumDynamicSharedBytes, dynamicBytes)
        if context.device.limits.supportsClusters { try set(.allowsNonPortableClusters, 1) }
        attributes = Attributes(
            maximumBlockThreads: try value(.maximumBlockThreads), staticSharedBytes: staticBytes,
            localBytes: try value(.localBytes), registers: try value(.registers),
            maximumDynamicSharedBytes: dynamicBytes)
        self.name = name
        self.module = module
        self.function = function
    }

    /// Puts a run of the kernel into `stream`. `arguments` are the parameters in the source's order.
    ///
    /// - Throws: `configuration` where the launch breaks a limit, named with the limit.
    public func launch(
        _ configuration: LaunchConfiguration, _ arguments: [KernelArgument], on stream: borrowing DeviceStream
    ) throws(FathomError) {
        try check(configuration)
        try context.enter()
        let code = withDriverConfiguration(configuration, stream: stream.handle) { driverConfiguration in
            KernelArgument.withAddresses(of: arguments) { addresses in
                context.functions.launchKernel(driverConfiguration, function, addresses, nil)
            }
        }
        try context.driver.check(
            code,
            "cuLaunchKernelEx(\(name), grid \(configuration.grid), block \(configuration.block), cluster "
                + "\(configuration.cluster), \(configuration.dynamicSharedBytes) bytes shared, "
                + "\(arguments.count) arguments)")
    }

    /// Blocks that one multiprocessor holds at once.
    public func activeBlocks(blockThreads: Int, dynamicSharedBytes: Int) throws(FathomError) -> Int {
        try context.enter()
        var count: Int32 = 0
        try context.driver.check(
            context.functions.activeBlocks(&count, function, Int32(blockThreads), dynamicSharedBytes),
            "cuOccupancyMaxActiveBlocksPerMultiprocessor(\(name), \(blockThreads) threads, \(dynamicSharedBytes) bytes)"
        )
        return Int(count)
    }

    /// Clusters that the whole device holds at once.
    public func activeClusters(_ configuration: LaunchConfiguration) throws(FathomError) -> Int {
        try check(configuration)
        try context.enter()
        var count: Int32 = 0
        let code = withDriverConfiguration(configuration, stream: nil) {
            context.functions.activeClusters(&count, function, $0)
        }
        try context.driver.check(code, "cuOccupancyMaxActiveClusters(\(name), cluster \(configuration.cluster))")
        return Int(count)
    }

    private func withDriverConfiguration<Result>(
        _ configuration: LaunchConfiguration, stream: OpaquePointer?,
        _ body: (UnsafePointer<fathom_cuda_launch_config>) -> Result
    ) -> Result {
        var launchAttributes = configuration.attributes
        return launchAttributes.withUnsafeMutableBufferPointer { attributes in
            var config = fathom_cuda_launch_config()
            config.grid_x = UInt32(configuration.grid.x)
            config.grid_y = UInt32(configuration.grid.y)
            config.grid_z = UInt32(configuration.grid.z)
            config.block_x = UInt32(configuration.block.x)
            config.block_y = UInt32(configuration.block.y)
            config.block_z = UInt32(configuration.block.z)
            config.shared_bytes = UInt32(configuration.dynamicSharedBytes)
            config.stream = stream.map { UnsafeMutableRawPointer($0) }
            config.attributes = attributes.baseAddress
            config.attribute_count = UInt32(attributes.count)
            return body(&config)
        }
    }

    /// Checks the limits that the driver would answer with a bare `invalid value`.
    private func check(_ configuration: LaunchConfiguration) throws(FathomError) {
        func refuse(_ what: String) -> FathomError { FathomError(.configuration, "kernel \(name): \(what)") }
        let (grid, block, cluster) = (configuration.grid, configuration.block, configuration.cluster)
        let gridLimits = Dimensions(Int(Int32.max), 65535, 65535)
        for (extent, limit) in [(grid.x, gridLimits.x), (grid.y, gridLimits.y), (grid.z, gridLimits.z)]
        where !(1...limit).contains(extent) {
            throw refuse("grid \(grid): each extent is at least 1 and at most \(gridLimits)")
        }
        guard block.x >= 1, block.y >= 1, (1...64).contains(block.z), block.count <= attributes.maximumBlockThreads
        else {
            throw refuse(
                "block \(block) has \(block.count) threads; \(attributes.maximumBlockThreads) are legal with "
                    + "\(attributes.registers) registers each, and at most 64 in z")
        }
        guard cluster.x >= 1, cluster.y >= 1, cluster.z >= 1, grid.x.isMultiple(of: cluster.x),
            grid.y.isMultiple(of: cluster.y), grid.z.isMultiple(of: cluster.z)
        else { throw refuse("cluster \(cluster) does not divide the grid \(grid)") }
        guard cluster.count == 1 || context.device.limits.supportsClusters else {
            throw refuse("cluster \(cluster): \(context.device.name) has no clusters")
        }
        guard cluster.count <= 2 * Self.portableClusterSize else {
            throw refuse(
                "cluster \(cluster) has \(cluster.count) blocks; at most \(2 * Self.portableClusterSize) are legal")
        }
        guard (0...attributes.maximumDynamicSharedBytes).contains(configuration.dynamicSharedBytes) else {
            throw refuse(
                "\(configuration.dynamicSharedBytes) bytes of dynamic shared memory; at most "
                    + "\(attributes.maximumDynamicSharedBytes) are legal beside "
                    + "\(attributes.staticSharedBytes) static ones"
            )
        }
    }
}
