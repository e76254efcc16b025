// SPDX-License-Identifier: MIT

import CUDA
import Platform

/// The GPU, which nothing needs.
enum GPUChecks {
    /// Driver, devices and compiler.
    static func all() -> [Check] { [driver(), compiler()] }

    private static func driver() -> Check {
        do throws(FathomError) {
            let driver = try CUDADriver.shared()
            var names: [String] = []
            for ordinal in 0..<(try driver.deviceCount()) {
                names.append(try CUDADevice(ordinal, driver: driver).name)
            }
            let version = "CUDA \(driver.version.major).\(driver.version.minor)"
            return Check(
                name: "GPU", state: names.isEmpty ? .note : .ok,
                finding: names.isEmpty ? "\(version), and no device" : "\(version), \(names.joined(separator: ", "))",
                advice: names.isEmpty ? "Look at nvidia-smi and CUDA_VISIBLE_DEVICES" : nil)
        } catch {
            return Check(name: "GPU", state: .note, finding: error.description)
        }
    }

    private static func compiler() -> Check {
        do throws(FathomError) {
            let compiler = try RuntimeCompiler()
            return Check(name: "GPU compiler", state: .ok, finding: "\(compiler.identity), \(compiler.path)")
        } catch {
            return Check(
                name: "GPU compiler", state: .note, finding: "no NVRTC",
                advice: "For GPU kernels: pip install nvidia-cuda-nvrtc-cu12==12.9.86 into .venv, or FATHOM_NVRTC")
        }
    }
}
