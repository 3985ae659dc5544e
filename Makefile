# `make demo` and `make test` do all the set-up themselves.
python := .venv/bin/python
# Photographs with people that scikit-image installs.
samples = $(shell $(python) -c "import skimage.data; print(skimage.data.__path__[0])")
photographs = $(samples)/astronaut.png $(samples)/camera.png
short_training = train_dataloader.batch_size=2 train_dataloader.dataset.length=260 \
	train_cfg.max_epochs=4 train_cfg.val_interval=4 param_scheduler.1.T_max=4 \
	val_dataloader.dataset.length=40

.PHONY: help setup demo test tutorials lint docs clean distclean

help:  ## Say what there is to make
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

setup:  ## Set up .venv: torch, mmcv with its compiled ops, the rest, this package
	@sh tools/dev/setup.sh

demo: setup  ## Predict on photographs, train on generated shapes, evaluate, draw into work_dirs/demo
	$(if $(wildcard weights/*.pth),$(python) tools/predict.py $(photographs) --out work_dirs/demo/photographs)
	$(python) tools/train.py configs/quickstart/levelset-rcnn_image_shapes.py --work-dir work_dirs/demo \
		--resume --cfg-options $(short_training)
	$(python) tools/draw_results.py configs/quickstart/levelset-rcnn_image_shapes.py work_dirs/demo \
		--score-thr 0.3 --search 40 --num 4
	@echo; $(python) tools/results_table.py work_dirs/demo
	@echo; echo "Pictures: work_dirs/demo/results/results.png, one image each beside it, losses.png"

test: lint  ## Check the style and the types, then run all tests but the notebooks
	$(python) -m pytest tests -m "not tutorial" -n logical --maxprocesses=8 --dist worksteal --durations=15

tutorials: setup  ## Run the six notebooks of docs/tutorials, and compare the number of their outputs
	$(python) -m pytest tests/docs/test_tutorials.py -m tutorial

lint: setup  ## Check the style and the types
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

docs: build/docs-venv/ready  ## Build the documentation site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 build/docs-venv/bin/mkdocs build

# An environment of its own: the site needs neither torch nor MMDetection.
build/docs-venv/ready: pyproject.toml constraints.txt
	$${PYTHON:-python3} -m venv --clear build/docs-venv
	build/docs-venv/bin/python -m pip install -q -c constraints.txt --upgrade pip
	build/docs-venv/bin/python -m pip install -q -c constraints.txt --group site
	touch $@

clean:  ## Remove build outputs and caches; .venv, data and work_dirs stay
	rm -rf build dist .coverage* .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -path ./.venv -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## Remove .venv as well
	rm -rf .venv
