// SPDX-License-Identifier: MIT

import CUDA
import Platform
import TestSupport
import Testing

@Suite struct ExecutionTests {
    @Test("a launch passes grid, block, cluster, shared memory, attributes and parameters as cuda.h lays them out")
    func launch() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let kernel = try DeviceModule(.elf, context: context).kernel("f<1>")
        let map = try TensorMap(
            .init(element: .bfloat16, dimensions: [64, 8], box: [64, 8]), at: 4096, driver: fake.driver)
        fake.clear()
        fake.expectParameters([4, 8, 128, 4, 4, 6, 8])
        try kernel.launch(
            LaunchConfiguration(
                grid: Dimensions(132, 2, 3), block: Dimensions(128, 3), cluster: Dimensions(2),
                dynamicSharedBytes: 200_000, isCooperative: true, startsEarly: true),
            [
                .int32(-2), .address(0x1122_3344_5566_7788), .tensorMap(map), .float(1), .uint32(7),
                .structure([1, 2, 3, 4, 5, 6], alignment: 2), .uint64(9),
            ], on: stream)
        let call = try #require(fake.calls.last)
        #expect(call.contains(" grid 132 2 3 block 128 3 1 shared 200000 stream "), "\(call)")
        #expect(call.contains(" [4: 2 1 1] [2: 1 0 0] [6: 1 0 0] "), "\(call)")
        let words = call.split(separator: " ").suffix(7)
        #expect(
            Array(words) == [
                "0:0:feffffff", "1:8:8877665544332211", "2:0:" + Substring(Self.mapBytes), "3:0:0000803f",
                "4:4:07000000",
                "5:8:010203040506", "6:16:0900000000000000",
            ], "\(words)")
    }

    private static let mapBytes = (1...16).map { index in
        String(repeating: index < 16 ? "0\(String(index, radix: 16))" : "10", count: 8)
    }.joined()

    @Test("a plain launch carries no attributes and no parameters")
    func plainLaunch() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let kernel = try DeviceModule(.elf, context: context).kernel("plain")
        #expect(fake.calls.contains { $0.hasPrefix("cuModuleGetFunction") && $0.hasSuffix(", plain)") })
        try kernel.launch(LaunchConfiguration(grid: Dimensions(1), block: Dimensions(32)), [], on: stream)
        let call = try #require(fake.calls.last)
        #expect(call.hasPrefix("cuLaunchKernelEx") && !call.contains("["), "\(call)")
    }

    @Test("a kernel is loaded by its lowered name, with all of the shared memory open to it")
    func load() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let kernel = try DeviceModule(.elf, context: context).kernel("f<1>")
        #expect(fake.calls.contains { $0.hasPrefix("cuModuleLoadData(\u{7F}ELF)") })
        #expect(fake.calls.contains { $0.hasSuffix(", _Z1fILi1EEvv)") })
        // Attribute 8 is the dynamic limit: what the device opts in to, less the kernel's static kilobyte.
        #expect(fake.calls.contains { $0.hasPrefix("cuFuncSetAttribute") && $0.hasSuffix(", 8, 231424)") })
        #expect(kernel.attributes.maximumBlockThreads == 384)
        #expect(kernel.attributes.staticSharedBytes == 1024)
        #expect(kernel.attributes.localBytes == 0)
        #expect(kernel.attributes.registers == 168)
        #expect(kernel.attributes.maximumDynamicSharedBytes == 231_424)
        #expect(try kernel.activeBlocks(blockThreads: 128, dynamicSharedBytes: 1000) == 2)
        let clusters = LaunchConfiguration(grid: Dimensions(4), block: Dimensions(128), cluster: Dimensions(2))
        #expect(try kernel.activeClusters(clusters) == 66)
    }

    private static let illegal: [(LaunchConfiguration, [String])] = [
        (.init(grid: Dimensions(0), block: Dimensions(32)), ["grid (0, 1, 1)"]),
        (.init(grid: Dimensions(1, 65536), block: Dimensions(32)), ["grid", "65535"]),
        (.init(grid: Dimensions(1), block: Dimensions(385)), ["385 threads", "384", "168 registers"]),
        (.init(grid: Dimensions(1), block: Dimensions(1, 1, 65)), ["64 in z"]),
        (.init(grid: Dimensions(3), block: Dimensions(32), cluster: Dimensions(2)), ["does not divide", "(3, 1, 1)"]),
        (.init(grid: Dimensions(32), block: Dimensions(32), cluster: Dimensions(32)), ["32 blocks", "16"]),
        (
            .init(grid: Dimensions(1), block: Dimensions(32), dynamicSharedBytes: 231_425),
            ["231425 bytes", "231424", "1024 static"]
        ),
    ]

    @Test("a launch that breaks a limit is refused before the driver, with the limit", arguments: illegal.indices)
    func refusesLaunch(index: Int) throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let kernel = try DeviceModule(.elf, context: context).kernel("k")
        let before = fake.calls.count
        expectFailure(.configuration, naming: ["kernel k"] + Self.illegal[index].1) { () throws(FathomError) in
            try kernel.launch(Self.illegal[index].0, [], on: stream)
        }
        #expect(fake.calls.count == before)
    }

    @Test("a launch that fails names the kernel and its extents")
    func launchFailure() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let kernel = try DeviceModule(.elf, context: context).kernel("k")
        fake.fail("cuLaunchKernelEx", with: 1)
        expectFailure(.internal, naming: ["cuLaunchKernelEx(k, grid (5, 1, 1)", "block (64, 1, 1)", "1 arguments"]) {
            () throws(FathomError) in
            try kernel.launch(.init(grid: Dimensions(5), block: Dimensions(64)), [.int32(1)], on: stream)
        }
    }

    @Test("waiting polls until the work is done, reports what it failed with, and ends at its limit")
    func wait() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        fake.stayBusy(queries: 5000)
        try stream.synchronize()
        fake.fail("cuStreamQuery", with: 700)
        expectFailure(.internal, naming: ["work in a stream", "illegal memory access"]) { () throws(FathomError) in
            try stream.synchronize()
        }
        fake.stayBusy(queries: .max)
        expectFailure(.unavailable, naming: ["not done after 20 ms", "Fake H200"]) { () throws(FathomError) in
            try stream.synchronize(limitMilliseconds: 20)
        }
        fake.stayBusy(queries: 0)
    }

    @Test("events order streams and measure the time between them")
    func events() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let other = try DeviceStream(context: context)
        let start = try DeviceEvent(context: context)
        let end = try DeviceEvent(context: context)
        try start.record(on: stream)
        try other.wait(for: start)
        try end.record(on: stream)
        try end.synchronize()
        #expect(try end.milliseconds(since: start) == 1.5)
        let elapsed = try #require(fake.calls.last)
        let records = fake.calls.filter { $0.hasPrefix("cuEventRecord") }.map {
            $0.split(separator: ",")[0].dropFirst(14)
        }
        #expect(elapsed == "cuEventElapsedTime(\(records[0]), \(records[1]))", "\(fake.calls)")
    }

    @Test("a graph records a stream, runs as often as asked, and is taken apart")
    func graph() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let memory = try DeviceMemory(byteCount: 64, context: context)
        fake.clear()
        do {
            let graph = try DeviceGraph(capturing: stream) { () throws(FathomError) in
                try memory.fill(3, on: stream)
            }
            try graph.launch(on: stream)
            try graph.launch(on: stream)
        }
        #expect(
            fake.calls.map { String($0.prefix { $0 != "(" }) } == [
                "cuStreamBeginCapture_v2", "cuMemsetD8Async", "cuStreamEndCapture", "cuGraphInstantiateWithFlags",
                "cuGraphLaunch", "cuGraphLaunch", "cuGraphExecDestroy", "cuGraphDestroy",
            ])
    }

    @Test("a failure inside a recording ends the recording and is passed on")
    func graphFailure() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let memory = try DeviceMemory(byteCount: 64, context: context)
        fake.clear()
        fake.fail("cuMemsetD8Async", with: 1)
        expectFailure(.internal, naming: ["cuMemsetD8Async"]) { () throws(FathomError) in
            _ = try DeviceGraph(capturing: stream) { () throws(FathomError) in try memory.fill(3, on: stream) }
        }
        #expect(
            fake.calls.suffix(2).map { String($0.prefix { $0 != "(" }) } == ["cuStreamEndCapture", "cuGraphDestroy"])
    }

    @Test("a library compiles and loads a kernel once", .enabled(if: Compilers.areThere))
    func library() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let compiler = try #require(Compilers.all.first)
        try withTemporaryFolder { folder in
            let library = KernelLibrary(context: context, cache: KernelCache(compiler: compiler, folder: folder))
            let first = try library.kernel("scale<2>", of: SmallKernels.scale)
            let second = try library.kernel("plain", of: SmallKernels.scale)
            #expect(first.module === second.module)
            #expect(fake.calls.filter { $0.hasPrefix("cuModuleLoadData") }.count == 1)
        }
    }
}
