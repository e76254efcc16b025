// SPDX-License-Identifier: MIT

import CUDA
import Platform
import TestSupport
import Testing

@Suite struct MemoryTests {
    @Test("values go to the device and come back, at an offset too")
    func copies() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let memory = try DeviceMemory([1, 2, 3, 4] as [Float], context: context)
        #expect(memory.byteCount == 16)
        try memory.copy(from: [9] as [Float], atByte: 8)
        #expect(try memory.values(as: Float.self, count: 4) == [1, 2, 9, 4])
        #expect(try memory.values(as: Float.self, count: 1, atByte: 12) == [4])
        #expect(try memory.values(as: Float.self, count: 0).isEmpty)
        #expect(memory.address(atByte: 4) == memory.address + 4)
    }

    @Test("memory is filled with bytes and words and copied in a stream's order")
    func streams() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let memory = try DeviceMemory(byteCount: 10, context: context)
        let other = try DeviceMemory(byteCount: 10, context: context)
        let pinned = try PinnedMemory(byteCount: 10, context: context)
        try memory.fill(1, on: stream)
        try memory.fill(words: 0x0403_0201, on: stream)
        try memory.fill(7, atByte: 1, byteCount: 2, on: stream)
        try other.copy(from: memory, byteCount: 10, on: stream)
        #expect(try other.values(as: UInt8.self, count: 10) == [1, 7, 7, 4, 1, 2, 3, 4, 1, 1])
        pinned.withBytes { $0.copyBytes(from: [5, 6, 7] as [UInt8]) }
        try other.copy(from: pinned, byteCount: 3, on: stream)
        try memory.copy(to: pinned, byteCount: 2, on: stream)
        try stream.synchronize()
        #expect(try other.values(as: UInt8.self, count: 4) == [5, 6, 7, 4])
        #expect(pinned.withBytes { Array($0.prefix(3)) } == [1, 7, 7])
        #expect(try context.memory().free == 1 << 30)
    }

    @Test("an allocation of nothing is one of a byte, and copies of nothing are not made")
    func empty() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        let stream = try DeviceStream(context: context)
        let memory = try DeviceMemory([] as [Int32], context: context)
        #expect(fake.calls.last == "cuMemAlloc_v2(1)")
        try memory.fill(0, on: stream)
        #expect(fake.calls.last == "cuMemAlloc_v2(1)")
    }
}

@Suite struct TensorMapTests {
    @Test("a layout reaches the driver dimension by dimension, in memory aligned for it")
    func encodes() throws {
        let fake = try FakeDriver()
        let layout = TensorMap.Layout(
            element: .bfloat16, dimensions: [512, 300, 7], byteStrides: [1152, 1152 * 320], box: [64, 128, 1],
            swizzle: .bytes128, l2Promotion: .bytes128, outOfBounds: .notANumber)
        fake.clear()
        let map = try TensorMap(layout, at: 0x1000, driver: fake.driver)
        #expect(
            fake.calls == [
                "cuTensorMapEncodeTiled align 0 type 9 at 0x1000 512 300 7 strides 1152 368640 box 64 128 1 "
                    + "steps 1 1 1 interleave 0 swizzle 3 promotion 2 fill 1"
            ])
        #expect(map.contents == (1...16).map { UInt64($0) * 0x0101_0101_0101_0101 })
    }

    @Test("strides of a dense tensor are derived")
    func dense() {
        let layout = TensorMap.Layout(element: .float32, dimensions: [32, 5, 3, 2], box: [32, 1, 1, 1])
        #expect(layout.byteStrides == [128, 640, 1920])
    }

    private static let legal = TensorMap.Layout(
        element: .uint8, dimensions: [256, 64], box: [128, 64], swizzle: .bytes128)

    private static let illegal: [(@Sendable (inout TensorMap.Layout) -> Void, UInt64, [String])] = [
        ({ _ in }, 8, ["address 8", "multiple of 16"]),
        ({ _ in }, 0, ["address 0"]),
        ({ $0.dimensions = [] }, 256, ["rank 0", "1 to 5"]),
        ({ $0 = .init(element: .uint8, dimensions: .init(repeating: 16, count: 6), box: [16]) }, 256, ["rank 6"]),
        ({ $0.box = [128] }, 256, ["1 box extents", "rank 2"]),
        ({ $0.dimensions = [0, 64] }, 256, ["dimensions [0, 64]"]),
        ({ $0.byteStrides = [250] }, 256, ["250 bytes", "multiples of 16"]),
        ({ $0.byteStrides = [1 << 40] }, 256, ["2^40"]),
        ({ $0.box = [128, 257] }, 256, ["box [128, 257]", "256"]),
        ({ $0.box = [8, 64] }, 256, ["8 bytes wide", "multiples of 16"]),
        ({ $0.box = [144, 64] }, 256, ["144 bytes wide", "128"]),
        ({ $0.elementSteps = [1, 9] }, 256, ["steps [1, 9]"]),
        ({ $0.outOfBounds = .notANumber }, 256, ["floats only"]),
        ({ $0.interleave = .bytes16 }, 256, ["at least 3 dimensions"]),
    ]

    @Test("a layout that the driver would call invalid is refused by the rule's name", arguments: illegal.indices)
    func refuses(index: Int) throws {
        let fake = try FakeDriver()
        var layout = Self.legal
        try layout.check(address: 256)
        let (change, address, words) = Self.illegal[index]
        change(&layout)
        fake.clear()
        expectFailure(.configuration, naming: ["tensor map"] + words) { () throws(FathomError) in
            _ = try TensorMap(layout, at: address, driver: fake.driver)
        }
        #expect(fake.calls.isEmpty)
    }
}
