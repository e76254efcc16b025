// SPDX-License-Identifier: MIT

import CUDA
import Platform
import TestSupport

/// A driver that writes down what it is asked (`FakeDriver/FakeDriver.c`), a library of its own for each value.
final class FakeDriver {
    let driver: CUDADriver
    private let control: DynamicLibrary
    private let folder: TemporaryFolder

    init() throws {
        let folder = try TemporaryFolder()
        let path = FilePaths.join(folder.path, "libcuda.so.1")
        // A file of its own makes a library with a state of its own.
        try AtomicFileWriter.write(try FakeDriverLibrary.bytes.get(), path: path)
        driver = try CUDADriver(candidates: [path])
        control = try DynamicLibrary("fake driver", candidates: [path], advice: "")
        self.folder = folder
    }

    func context() throws -> DeviceContext {
        let context = try DeviceContext(device: try CUDADevice(0, driver: driver))
        clear()
        return context
    }

    /// The calls so far, one a line.
    var calls: [String] {
        let log: @convention(c) () -> UnsafePointer<CChar> = function("fake_log")
        return String(cString: log()).split(separator: "\n").map(String.init)
    }

    func clear() {
        let clear: @convention(c) () -> Void = function("fake_clear")
        clear()
    }

    /// Lets the next `call` fail.
    func fail(_ call: String, with code: Int32) {
        let fail: @convention(c) (UnsafePointer<CChar>, Int32) -> Void = function("fake_fail")
        fail(call, code)
    }

    /// Tells how many bytes each parameter of a launched kernel has.
    func expectParameters(_ sizes: [Int32]) {
        let expect: @convention(c) (UnsafePointer<Int32>, Int32) -> Void = function("fake_parameters")
        expect(sizes, Int32(sizes.count))
    }

    func setDeviceCount(_ count: Int32) {
        let set: @convention(c) (Int32) -> Void = function("fake_devices")
        set(count)
    }

    /// Lets that many queries find the work unfinished.
    func stayBusy(queries: Int32) {
        let set: @convention(c) (Int32) -> Void = function("fake_busy")
        set(queries)
    }

    private func function<Function>(_ name: String) -> Function {
        // SAFETY: the callers' types are those of FakeDriver.c.
        unsafeBitCast(control.symbol(name), to: Function.self)
    }
}

/// The compiled fake.
enum FakeDriverLibrary {
    static let bytes: Result<[UInt8], any Error> = Result {
        let folder = try TemporaryFolder()
        let library = FilePaths.join(folder.path, "fake.so")
        let run = try ToolRun(
            "clang",
            ["-shared", "-fPIC", "-o", library, "\(TestPaths.repository)/Tests/CUDATests/FakeDriver/FakeDriver.c"])
        guard run.status == 0 else { throw FathomError(.internal, "the fake driver does not compile: \(run.output)") }
        return try MappedFile.read(path: library)
    }
}
