# SPDX-License-Identifier: Apache-2.0
"""run_onnx.py MODEL.onnx IN OUT: runs the model on raw f32 of its input's shape (N = 1), writes raw f32. Without arguments:
succeeds where ONNX Runtime is installed."""
import sys

import numpy as np
import onnxruntime

if len(sys.argv) > 1:
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    shape = [n if isinstance(n, int) else 1 for n in session.get_inputs()[0].shape]
    images = np.fromfile(sys.argv[2], np.float32).reshape(shape)
    session.run(["logits"], {"images": images})[0].tofile(sys.argv[3])
